// Torchwood is the judge that needs a newer Go than the others: one verdict a run, as a line of JSON.
//
//	torchwood tiles   FOLDER ORIGIN VKEY     every entry against tiles that it authenticates itself
//	torchwood receipt FILE   POLICY ENTRY    a receipt against a policy, cosignatures of any kind in it
//
// A verdict is the line; no line, or another exit code than 0, is a refusal too.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

type verdict struct {
	Accepted bool   `json:"accepted"`
	Why      string `json:"why,omitempty"`
	Size     int64  `json:"size"`
	Root     string `json:"root"`
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "torchwood tiles FOLDER ORIGIN VKEY | receipt FILE POLICY ENTRY")
		os.Exit(2)
	}
	var tree tlog.Tree
	var err error
	switch os.Args[1] {
	case "tiles":
		tree, err = tiles(os.Args[2], os.Args[3], os.Args[4])
	case "receipt":
		err = receipt(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("no such judge")
	}
	found := verdict{Accepted: err == nil, Size: tree.N, Root: base64.StdEncoding.EncodeToString(tree.Hash[:])}
	if err != nil {
		found.Why = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func tiles(folder, origin, vkey string) (tlog.Tree, error) {
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := torchwood.NewLogVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(verifier))
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, policy)
	if err != nil {
		return tlog.Tree{}, err
	}
	tree := checkpoint.Tree
	if tree.N == 0 && tree.Hash != sha256.Sum256(nil) {
		return tree, errors.New("an empty tree with another root than the empty one")
	}
	reader, err := torchwood.NewTileFS(os.DirFS(folder))
	if err != nil {
		return tree, err
	}
	client, err := torchwood.NewClient(reader)
	if err != nil {
		return tree, err
	}
	count := int64(0)
	for index := range client.AllEntries(context.Background(), tree, 0) {
		if index != count {
			return tree, fmt.Errorf("entry %d comes where entry %d belongs", index, count)
		}
		count++
	}
	if err := client.Err(); err != nil {
		return tree, err
	}
	if count != tree.N {
		return tree, fmt.Errorf("%d entries of %d", count, tree.N)
	}
	return tree, nil
}

func receipt(path, policyPath, entryPath string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(policyPath)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(entryPath)
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(entry), data)
}
