package differential

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/validate"
)

var (
	seedFlag  = flag.Uint64("seed", 1, "what the worlds are made from; 0: a random number")
	casesFlag = flag.Int("cases", 240, "how many worlds to make")
	caseFlag  = flag.Int("case", -1, "make the world of this case alone, and keep its files")
)

const (
	// batchSize is how many worlds one start of the servers is for.
	batchSize = 100

	// reportEvery is after how many batches the table so far is printed.
	reportEvery = 10

	// workers is how many worlds are asked about at once.
	workers = 12
)

// TestDifferential holds our verdicts against those of unbound and the PowerDNS
// recursor.
func TestDifferential(t *testing.T) {
	daemon.Need(t, "nsd", "knotd", "unbound", "pdns_recursor")
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	r := newReport(seed)
	for i, cases := range batches() {
		program := []string{"nsd", "knotd"}[i%2]
		dir := t.TempDir()
		if *caseFlag >= 0 {
			dir = keep(t)
		}
		// A test of its own, so that its servers end before the next start.
		t.Run(fmt.Sprintf("%s from %d", program, cases[0]), func(t *testing.T) {
			newBatch(t, seed, cases, program, dir).run(r)
			if i%reportEvery == reportEvery-1 {
				t.Log(r)
			}
		})
	}
	t.Log(r)
	if *caseFlag < 0 {
		r.finish(t)
	}
}

// batches returns the numbers of the cases, in batches.
func batches() [][]int {
	if *caseFlag >= 0 {
		return [][]int{{*caseFlag}}
	}
	var all [][]int
	for number := range *casesFlag {
		if number%batchSize == 0 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], number)
	}
	return all
}

// keep makes a directory that outlives the test.
func keep(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mske-differential-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("files kept in %s", dir)
	return dir
}

// peer is a resolver that is also a judge.
type peer struct {
	name    string
	addr    string
	through through
	fetcher *fetch.Fetcher
}

// peers returns the resolvers of a batch.
func (b *batch) peers(anchors *validate.Anchors) []*peer {
	b.t.Helper()
	all := []*peer{{name: "unbound", addr: b.addr(hostUnbound)}, {name: "pdns-recursor", addr: b.addr(hostRecursor)}}
	for _, p := range all {
		var err error
		if p.through, err = newThrough(p.addr); err != nil {
			b.t.Fatal(err)
		}
		p.fetcher = fetch.New(p.through.client, anchors, fetch.Options{Port: portOf(b.t, b.port)})
	}
	return all
}

// run asks all about the worlds of the batch.
func (b *batch) run(r *report) {
	b.t.Helper()
	anchors, err := validate.ReadAnchors(filepath.Join(b.dir, "anchor.ds"))
	if err != nil {
		b.t.Fatal(err)
	}
	peers := b.peers(anchors)
	queue := make(chan *world)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for w := range queue {
				b.judge(w, peers, anchors, r)
			}
		})
	}
	for _, w := range b.worlds {
		queue <- w
	}
	close(queue)
	wg.Wait()
}

// judge asks all about one world and reports it.
func (b *batch) judge(w *world, peers []*peer, anchors *validate.Anchors, r *report) {
	c := &outcome{world: w, program: b.program}
	validators := []*validate.Validator{validate.New(anchors, validate.Options{}), validate.New(anchors, validate.Options{})}
	// The peers go first: what they cached for a question with CD, and judge
	// later, is not what they would say if asked afresh.
	for _, q := range w.questions {
		a := asked{question: q}
		for i, p := range peers {
			a.theirs[i] = theirs(p.addr, q)
		}
		c.asked = append(c.asked, a)
	}
	for n := range c.asked {
		for i, p := range peers {
			c.asked[n].ours[i] = p.through.ours(b.t.Context(), validators[i], c.asked[n].question)
		}
	}
	for i, p := range peers {
		c.fetched[i] = p.fetch(b.t.Context(), w)
	}
	if faults := r.add(c); len(faults) > 0 {
		b.t.Errorf("seed %d, zone files in %s:\n%s", r.seed, b.keepZones(w, r.seed), strings.Join(faults, "\n"))
	}
}

// keepZones writes a world's zone files to where they outlive the test.
func (b *batch) keepZones(w *world, seed uint64) string {
	b.t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("mske-differential-%d", seed), fmt.Sprintf("case-%d", w.number))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.t.Error(err)
		return ""
	}
	for _, z := range w.zones {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(b.zoneFile(z.name))), []byte(z.file()), 0o600); err != nil {
			b.t.Error(err)
		}
	}
	return dir
}
