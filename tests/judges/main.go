// Judges holds logs and receipts of ours against programs that are not ours: one verdict a run, as a line of JSON.
//
//	judges fsck    FOLDER ORIGIN VKEY         tessera's fsck library, every bundle and tile
//	judges tiles   FOLDER ORIGIN VKEY         x/mod's authenticated tiles, every bundle
//	judges kept    FOLDER ORIGIN VKEY KEPT    x/mod's consistency proof from a checkpoint that was kept
//	judges receipt FILE   ORIGIN VKEY ENTRY   formats/proof and merkle/proof
//	judges note    FILE   ORIGIN VKEY...      formats/note: every key must have signed
//
// A verdict is the line; no line, or another exit code than 0, is a refusal too (fsck's workers panic on some bundles).
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// More workers than wrong tiles: each wrong tile ends one, and when none is left the library waits for ever.
const workers = 1024

type verdict struct {
	Accepted bool   `json:"accepted"`
	Why      string `json:"why,omitempty"`
	Size     int64  `json:"size"`
	Root     string `json:"root"`
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "judges fsck|tiles|kept|receipt|note PATH ORIGIN VKEY …")
		os.Exit(2)
	}
	tree, err := judge(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	found := verdict{Accepted: err == nil, Size: tree.N, Root: base64.StdEncoding.EncodeToString(tree.Hash[:])}
	if err != nil {
		found.Why = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func judge(kind, path, origin, vkey string, more []string) (tlog.Tree, error) {
	verifier, err := fnote.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	switch kind {
	case "receipt":
		return receipt(path, origin, verifier, more[0])
	case "note":
		return signatures(path, origin, append([]string{vkey}, more...))
	}
	data, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	tree, err := checkpoint(data, origin, verifier)
	if kind == "fsck" { // it reads the checkpoint itself: its verdict, not ours, counts
		return tree, fsck.New(origin, verifier, client.FileFetcher{Root: path}, leaves, fsck.Opts{N: workers}).
			Check(context.Background())
	}
	if err != nil {
		return tree, err
	}
	reader := tlog.TileHashReader(tree, files(path))
	if kind == "tiles" {
		return tree, everyEntry(path, tree, reader)
	}
	if data, err = os.ReadFile(more[0]); err != nil {
		return tree, err
	}
	kept, err := checkpoint(data, origin, verifier)
	if err != nil {
		return tree, fmt.Errorf("the kept checkpoint: %w", err)
	}
	return tree, grew(kept, tree, reader)
}

// checkpoint opens a checkpoint and parses it strictly: numbers have one spelling.
func checkpoint(data []byte, origin string, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != origin {
		return tlog.Tree{}, fmt.Errorf("the checkpoint is not of %s, or has further lines", origin)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || strconv.FormatInt(size, 10) != lines[1] || size < 0 {
		return tlog.Tree{}, fmt.Errorf("size %q", lines[1])
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

func leaves(bundle []byte) ([][]byte, error) {
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var found [][]byte
	for _, entry := range entries.Entries {
		found = append(found, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return found, nil
}

// files reads tiles below a folder, for x/mod, which puts the height 8 into their paths.
type files string

func (f files) Height() int                     { return 8 }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := f.read(tile)
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (f files) read(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(strings.Replace(tile.Path(), "tile/8/", "tile/", 1), "tile/data/", "tile/entries/", 1)
	return os.ReadFile(filepath.Join(string(f), path))
}

func everyEntry(folder string, tree tlog.Tree, reader tlog.HashReader) error {
	if tree.N == 0 {
		if tree.Hash != sha256.Sum256(nil) {
			return errors.New("an empty tree with another root than the empty one")
		}
		return nil
	}
	if root, err := tlog.TreeHash(tree.N, reader); err != nil || root != tree.Hash {
		return fmt.Errorf("the tiles do not come to the root: %v", err)
	}
	for first := int64(0); first < tree.N; first += 256 {
		width := min(256, tree.N-first)
		bundle, err := files(folder).read(tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)})
		if err != nil {
			return err
		}
		var indexes []int64
		var hashes []tlog.Hash
		for len(bundle) >= 2 {
			length := int(binary.BigEndian.Uint16(bundle))
			if len(bundle) < 2+length {
				break
			}
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(len(hashes))))
			hashes = append(hashes, tlog.RecordHash(bundle[2:2+length]))
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 || int64(len(hashes)) != width {
			return fmt.Errorf("the bundle of entry %d does not hold %d entries", first, width)
		}
		known, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i := range known {
			if known[i] != hashes[i] {
				return fmt.Errorf("entry %d is not the one that was logged", first+int64(i))
			}
		}
	}
	return nil
}

func grew(kept, tree tlog.Tree, reader tlog.HashReader) error {
	if kept.N > tree.N {
		return fmt.Errorf("rolled back from %d to %d", kept.N, tree.N)
	}
	if kept.N == tree.N {
		if kept.Hash != tree.Hash {
			return errors.New("two trees of one size")
		}
		return nil
	}
	if kept.N == 0 {
		return nil
	}
	path, err := tlog.ProveTree(tree.N, kept.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, tree.N, tree.Hash, kept.N, kept.Hash)
}

func receipt(path, origin string, verifier note.Verifier, entry string) (tlog.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	var found proof.TLogProof
	if err := found.Unmarshal(data); err != nil {
		return tlog.Tree{}, err
	}
	tree, err := checkpoint(found.Checkpoint, origin, verifier)
	if err != nil {
		return tree, err
	}
	raw, err := os.ReadFile(entry)
	if err != nil {
		return tree, err
	}
	var hashes [][]byte
	for _, hash := range found.Hashes {
		hashes = append(hashes, bytes.Clone(hash[:]))
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(raw)
	return tree, merkle.VerifyInclusion(rfc6962.DefaultHasher, found.Index, uint64(tree.N), leaf, hashes, tree.Hash[:])
}

func signatures(path, origin string, vkeys []string) (tlog.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	var tree tlog.Tree
	for _, vkey := range vkeys {
		verifier, err := fnote.NewVerifier(vkey)
		if err == nil && strings.HasPrefix(strings.SplitN(vkey, "+", 3)[2], "B") { // kinds 4 to 7 begin so in base64
			verifier, err = fnote.NewVerifierForCosignatureV1(vkey)
		}
		if err != nil {
			return tree, err
		}
		if tree, err = checkpoint(data, origin, verifier); err != nil {
			return tree, fmt.Errorf("%s: %w", verifier.Name(), err)
		}
	}
	return tree, nil
}
