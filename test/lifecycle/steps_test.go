package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/status"
)

// begin has p be the zone's only provider, with a KSK and a ZSK or, for csk, one
// key for both.
func (w *world) begin(p *provider, csk bool) {
	w.t.Helper()
	w.ns = newNS(p.host)
	w.serial = 1
	p.makeKeys(csk)
	w.parent.start(w.ns.hosts, p.signers[0])
	w.startResolvers()
	p.start()
	w.startTrace()
	w.startLoad()
}

// makeKeys makes the first keys of a provider.
func (p *provider) makeKeys(csk bool, options ...string) {
	p.w.t.Helper()
	p.signers = []string{p.keygen("KSK", options...)}
	if csk {
		p.csks = append(p.csks, p.signers[0])
	} else {
		p.signers = append(p.signers, p.keygen("ZSK", options...))
	}
}

// join has new providers come to those that there are, by the CNS RRset, which
// also may leave out some of these. NS follows as soon as one of the providers
// says that it may.
func (w *world) join(target []string, before, joining []*provider, static bool) {
	w.t.Helper()
	marks := make(map[*provider]int)
	for _, p := range slices.Concat(before, joining) {
		marks[p] = len(p.log())
	}
	w.cns = target
	for _, p := range joining {
		p.start()
	}
	if static {
		w.static.start(before[0])
	}
	w.publish(target, w.ns.hosts)
	everybody := slices.Concat(before, joining)
	guide := everybody[w.rng.IntN(len(everybody))]
	w.t.Logf("%s %s is asked when NS may change", clock(), guide.name)
	guide.await(marks[guide], `Zone "example.co.uk." is (joint|converged)`)
	guide.await(marks[guide], `Zone "example.co.uk." is ds-synced.*NS may be the target now`)
	w.changeNS(target)
}

// changeNS has the owner and the parent name the target in NS.
func (w *world) changeNS(target []string) {
	w.t.Helper()
	w.rest(target)
	steps := []func(){
		func() { w.publish(w.cns, target) },
		func() { w.parent.delegate(target) },
	}
	w.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, step := range steps {
		step()
		w.pass("the next change of NS", time.Now().Add(time.Duration(w.rng.IntN(3000))*time.Millisecond))
	}
}

// complete waits until a provider says that all is as the owner wants it.
func (w *world) complete(ps ...*provider) {
	w.t.Helper()
	for _, p := range ps {
		w.await(p.name+" to be complete", func() error {
			if line := p.last(`Zone "example.co.uk." is `); !strings.Contains(line, `Zone "example.co.uk." is complete`) {
				return errors.New(line)
			}
			return nil
		})
	}
	w.t.Logf("%s %d answers so far", clock(), w.load.total())
}

// leave has a provider leave by NS: CNS, if there is one, and NS stop to name it.
// It is stopped when it says that the zone may be deleted there.
func (w *world) leave(p *provider, stay ...*provider) {
	w.t.Helper()
	target := slices.DeleteFunc(slices.Clone(w.ns.hosts), func(h string) bool { return h == p.host })
	marks := make(map[*provider]int)
	for _, q := range append(stay, p) {
		marks[q] = len(q.log())
	}
	if len(w.cns) > 0 {
		w.cns = target
	}
	w.changeNS(target)
	w.left(p, marks, stay...)
}

// left waits until a provider may stop, and until those that stay have dropped
// its keys.
func (w *world) left(p *provider, marks map[*provider]int, stay ...*provider) {
	w.t.Helper()
	line := p.await(marks[p], `Zone "example.co.uk." is left.*it may be deleted here from`)
	w.pass(p.name+" to be allowed to stop", p.timeIn(line, "it may be deleted here from"))
	p.stop()
	for _, q := range stay {
		q.await(marks[q], strings.ReplaceAll(p.host, ".", `\.`)+` has left, and caches have forgotten it: its keys go`)
	}
}

// leaveStatic has the static peer leave.
func (w *world) leaveStatic(stay ...*provider) {
	w.t.Helper()
	target := slices.DeleteFunc(slices.Clone(w.ns.hosts), func(h string) bool { return h == w.static.host })
	marks := make(map[*provider]int)
	for _, q := range stay {
		marks[q] = len(q.log())
	}
	if len(w.cns) > 0 {
		w.cns = target
	}
	w.changeNS(target)
	for _, q := range stay {
		q.await(marks[q], strings.ReplaceAll(w.static.host, ".", `\.`)+` has left, and caches have forgotten it: its keys go`)
	}
	w.static.stop()
	for _, q := range stay {
		for _, key := range []string{w.static.ksk, w.static.zsk} {
			q.gone(key)
		}
	}
}

// keyInfo is what `mske check --json` says of a key.
type keyInfo struct {
	Tag uint16
	DS  bool
	At  map[string]struct{ DNSKEY, CDS string }
}

// check is what `mske check` sees.
func (w *world) check() (keys map[uint16]keyInfo, phase string, err error) {
	cmd := exec.Command(ours(w.t, "mske"), "check", "--json", "--resolver", w.fetchAddr, "--trust-anchor", w.anchor, "--port", w.port, shared) // #nosec G204 -- our program
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return nil, "", fmt.Errorf("%w: %s", err, out)
	}
	var o struct {
		Phase string
		Keys  []keyInfo
	}
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, "", fmt.Errorf("%w in %s", err, out)
	}
	keys = make(map[uint16]keyInfo)
	for _, k := range o.Keys {
		keys[k.Tag] = k
	}
	return keys, o.Phase, nil
}

// awaitKey waits until mske check says something of a key.
func (w *world) awaitKey(key, what string, done func(keyInfo, bool) bool) {
	w.t.Helper()
	look := func() chan error {
		seen := make(chan error, 1)
		go func() { // it takes long while a nameserver is cut off
			keys, phase, err := w.check()
			if k, there := keys[tag(key)]; err == nil && !done(k, there) {
				err = fmt.Errorf("%s: %+v", phase, k)
			}
			seen <- err
		}()
		return seen
	}
	seen, problem := look(), errors.New("nothing yet")
	w.await(fmt.Sprintf("mske check to see key %d %s", tag(key), what), func() error {
		select {
		case problem = <-seen:
			if problem != nil {
				seen = look()
			}
		default:
		}
		return problem
	})
	w.t.Logf("%s mske check: key %d is %s", clock(), tag(key), what)
}

// inDS waits until the parent's DS names a key.
func (w *world) inDS(key string) {
	w.t.Helper()
	w.awaitKey(key, "in DS", func(k keyInfo, there bool) bool { return there && k.DS })
}

// gone waits until p does not serve a key any more.
func (p *provider) gone(key string) {
	p.w.t.Helper()
	p.w.awaitKey(key, "gone from "+p.name, func(k keyInfo, there bool) bool {
		return !there || k.At[p.host].DNSKEY == "no" && k.At[p.host].CDS == "no" && !k.DS
	})
}

// maySign waits until p says that its key may sign the zone's data. If it does
// not say so although mske check sees the key everywhere, that is an error.
func (p *provider) maySign(mark int, key string) {
	p.w.t.Helper()
	const words = "it may sign the zone's data from"
	re := regexp.MustCompile(fmt.Sprintf(`our key %d is at every nameserver.*%s (\S+)`, tag(key), words))
	p.w.awaitKey(key, "everywhere", keyInfo.everywhere)
	var from time.Time
	seen := time.Now()
	p.w.await(p.name+" to say when its key may sign", func() error {
		found := re.FindAllStringSubmatch(p.log()[mark:], -1)
		switch {
		case len(found) > 0:
			from = p.timeIn(found[len(found)-1][0], words)
			return nil
		case time.Since(seen) > 15*time.Second:
			p.w.t.Errorf("%s %s does not say when key %d may sign, though every nameserver has it", clock(), p.name, tag(key))
			return nil
		}
		return errors.New("it does not")
	})
	p.w.pass(fmt.Sprintf("key %d to be in all caches", tag(key)), from)
	p.w.t.Logf("%s %s: key %d may sign from %s", clock(), p.name, tag(key), from.Format(time.TimeOnly))
}

// everywhere reports whether every nameserver has a key in DNSKEY.
func (k keyInfo) everywhere(there bool) bool {
	for _, at := range k.At {
		if at.DNSKEY != "yes" {
			return false
		}
	}
	return there
}

// status is what `mske status` says of a key of p, nil if nothing.
func (p *provider) status(key string) (*status.Key, error) {
	if p.daemon == nil || !p.frozen.IsZero() {
		return nil, errors.New("it is cut off")
	}
	out, err := try(p.dir, ours(p.w.t, "mske"), "status", "--state", filepath.Join(p.dir, "mske.db"), "--json", shared)
	if err != nil {
		return nil, fmt.Errorf("mske status: %w: %s", err, out)
	}
	var z status.Zone
	if err := json.Unmarshal([]byte(out), &z); err != nil {
		return nil, fmt.Errorf("mske status: %w: %s", err, out)
	}
	for _, k := range z.Keys {
		if k.Tag == tag(key) {
			return &k, nil
		}
	}
	return nil, nil
}

// retire has a key go that another one has taken the place of: by its times, which
// mske carries out when that is safe, or by nothing, and in any case by the removal
// of its files once mske says that it may go.
func (p *provider) retire(key string) {
	p.w.t.Helper()
	if p.w.rng.IntN(2) == 0 {
		p.settime(key, "-I", p.now(), "-D", p.now())
	}
	var from time.Time
	p.w.await(fmt.Sprintf("%s to say when key %d may go", p.name, tag(key)), func() error {
		k, err := p.status(key)
		switch {
		case err != nil:
			return err
		case k == nil: // it has gone
			return nil
		case k.GoFrom.IsZero():
			return fmt.Errorf("it says %+v", *k)
		}
		from = k.GoFrom.Add(-p.ahead)
		return nil
	})
	p.w.pass(fmt.Sprintf("key %d to be allowed to go", tag(key)), from)
	p.w.t.Logf("%s %s: removes key %d, which may go from %s", clock(), p.name, tag(key), from.UTC().Format(time.TimeOnly))
	for _, suffix := range []string{".key", ".private"} {
		if err := os.Remove(key + suffix); err != nil {
			p.w.t.Fatal(err)
		}
	}
}

// rollZSK replaces the ZSK: the new one is published, signs once mske says that
// it may, and the old one goes once mske says so.
func (p *provider) rollZSK() {
	p.w.t.Helper()
	ksk, old := p.signers[0], p.signers[1]
	mark := len(p.log())
	key := p.keygen("ZSK")
	p.maySign(mark, key)
	p.sign(ksk, key)
	p.retire(old)
	p.gone(old)
}

// rollKSK replaces the KSK. An operator in a hurry says at once that the old one
// is to go: mske carries that out when it is safe.
func (p *provider) rollKSK() {
	p.w.t.Helper()
	old, zsk := p.signers[0], p.signers[1]
	key := p.keygen("KSK")
	hurry := p.w.rng.IntN(2) == 0
	if !hurry {
		p.w.inDS(key)
	}
	p.sign(key, zsk)
	if hurry {
		p.settime(old, "-I", p.now(), "-D", p.now())
	}
	p.retire(old)
	p.gone(old)
	p.w.inDS(key)
}

// rollCSK replaces a CSK, which is both: it signs data once mske says that it
// may, and mske keeps the old one until DS has followed and caches have, too.
func (p *provider) rollCSK() {
	p.w.t.Helper()
	old := p.signers[0]
	mark := len(p.log())
	key := p.keygen("KSK")
	p.csks = append(p.csks, key)
	p.maySign(mark, key)
	p.sign(key)
	p.retire(old)
	p.gone(old)
	p.w.inDS(key)
}

// rollAlgorithm replaces the keys of all providers by such of another algorithm.
// They do it together: every provider's DNSKEY RRset has to be signed with every
// algorithm in DS, its data too, and parents look at that (RFC 8901 section 4).
func (w *world) rollAlgorithm(algorithm string, ps ...*provider) {
	w.t.Helper()
	old, fresh, marks := make(map[*provider][]string), make(map[*provider][]string), make(map[*provider]int)
	for _, p := range ps {
		old[p], marks[p] = p.signers, len(p.log())
		p.makeKeys(len(old[p]) == 1, "-a", algorithm)
		fresh[p], p.signers = p.signers, old[p]
	}
	for _, p := range ps {
		p.maySign(marks[p], fresh[p][len(fresh[p])-1])
		p.sign(slices.Concat(old[p], fresh[p])...)
	}
	for _, p := range ps {
		w.inDS(fresh[p][0])
	}
	for _, p := range ps {
		p.settime(old[p][0], "-I", p.now(), "-D", p.now())
	}
	for _, p := range ps {
		w.awaitKey(old[p][0], "out of DS", func(k keyInfo, there bool) bool { return !there || !k.DS })
	}
	w.pass("caches to forget DS of the old algorithm", time.Now().Add((dsTTL+keyTTL+1)*time.Second))
	for _, p := range ps {
		p.sign(fresh[p]...)
		for _, key := range old[p][1:] {
			p.settime(key, "-I", p.now(), "-D", p.now())
		}
	}
	for _, p := range ps {
		for _, key := range old[p] {
			p.gone(key)
		}
	}
}
