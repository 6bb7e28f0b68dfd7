// Witnesses asks a witness as programs that are not ours do, and says what they make of its answer, as a line of JSON.
//
//	witnesses URL OLD CHECKPOINT [HASH...]   witness/client/http; the hashes of the proof in base64
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"

	client "github.com/transparency-dev/witness/client/http"
	"github.com/transparency-dev/witness/witness"
)

var names = map[error]string{
	witness.ErrCheckpointStale:  "stale",
	witness.ErrInvalidProof:     "invalid proof",
	witness.ErrNoValidSignature: "no valid signature",
	witness.ErrOldSizeInvalid:   "old size invalid",
	witness.ErrPushback:         "pushback",
	witness.ErrRootMismatch:     "root mismatch",
	witness.ErrUnknownLog:       "unknown log",
}

type outcome struct {
	Error string `json:"error"`
	Size  uint64 `json:"size"`
	Lines string `json:"lines"`
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "witnesses URL OLD CHECKPOINT [HASH...]")
		os.Exit(2)
	}
	lines, size, err := ask(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	found := outcome{Size: size, Lines: string(lines)}
	if err != nil {
		found.Error = err.Error()
	}
	for known, name := range names {
		if errors.Is(err, known) {
			found.Error = name
		}
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func ask(where, oldSize, path string, hashes []string) ([]byte, uint64, error) {
	at, err := url.Parse(where)
	if err != nil {
		return nil, 0, err
	}
	size, err := strconv.ParseUint(oldSize, 10, 64)
	if err != nil {
		return nil, 0, err
	}
	checkpoint, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	var proof [][]byte
	for _, hash := range hashes {
		data, err := base64.StdEncoding.DecodeString(hash)
		if err != nil {
			return nil, 0, err
		}
		proof = append(proof, data)
	}
	return client.NewWitness(at, http.DefaultClient).Update(context.Background(), size, checkpoint, proof)
}
