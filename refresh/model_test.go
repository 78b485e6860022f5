package refresh

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	modelSeed      = flag.Uint64("model.seed", 0, "first seed of the model's schedules; 0: a random one")
	modelSchedules = flag.Int("model.schedules", 6, "how many schedules the model runs")
	modelFailures  = flag.Int("model.failures", 3, "after how many failures the model ends")
	modelAuto      = flag.Int("model.auto", 0, "in how many of a hundred schedules NS and CSYNC are mske's")
	modelDays      = flag.Int("model.days", 2, "how many days each of them lasts")
)

func runModel(t *testing.T, seed uint64, plan modelPlan) *model {
	t.Helper()
	m := newModel(t, seed, plan)
	m.run()
	return m
}

// explain runs a schedule again and says what happened before it failed.
func explain(t *testing.T, seed uint64, plan modelPlan) string {
	plan.trace = true
	m := runModel(t, seed, plan)
	if m.failure == nil {
		return "and not when it ran again: it depends on more than its seed"
	}
	return strings.Join(m.history[max(0, len(m.history)-120):], "\n") + "\n" + stampOf(m.now) + " " + m.failure.Error()
}

// TestModel holds that, whatever happens in whatever order, any RRset that some
// cache may hold validates with any DNSKEY and DS RRset that some cache may hold:
// two to five providers come and go, roll their keys, restart, have clocks that are
// wrong and set, cannot reach each other or the parent, know of different CNS for
// hours, and see old announcements, as chance has it. The long form:
//
//	go test ./refresh -run TestModel -timeout 0 -v -args -model.schedules 2000 -model.days 4
//
// A schedule that failed is run again by its seed, with what happened before:
//
//	go test ./refresh -run TestModel -v -args -model.schedules 1 -model.days 4 -model.seed SEED
//
// Left out is what the rules leave to the owner: DNSKEY that is served short for
// want of the others' keys (rule M5), a key that signs data for less than the hour
// between two looks at the zone (rule K2), a restart while nothing can be stored, which
// forgets what came meanwhile (rule T1), a nameserver that some cannot reach for
// more than an hour, an owner who has NS name a provider that gave up the zone, or got
// it anew less than an hour ago, a leaver that goes on naming itself in NS, a TTL that was
// raised since it was last read, or lowered just before a provider came, and a parent
// that acts on CDS which has changed since (RFC 7344 section 6.2). Only with -model.auto NS and CSYNC follow CNS by themselves:
// then a leaver whose CNS is hours behind may go on naming itself.
func TestModel(t *testing.T) {
	first := *modelSeed
	if first == 0 {
		first = rand.Uint64() >> 32
	}
	t.Logf("seeds from %d", first)
	total := make(map[string]int)
	failed := 0
	for seed := first; seed < first+uint64(*modelSchedules); seed++ {
		plan := modelPlan{days: *modelDays}
		m := runModel(t, seed, plan)
		for what, n := range m.count {
			total[what] += n
		}
		total["checks"] += m.caches.checked
		if m.failure != nil {
			t.Errorf("Seed %d:\n%s", seed, explain(t, seed, plan))
			if failed++; failed == *modelFailures {
				break
			}
		}
	}
	t.Logf("%d schedules, %d failed: %v", *modelSchedules, failed, total)
}

// An owner who waits for nothing breaks the zone: the model has eyes.
func TestModelOfARecklessOwnerFails(t *testing.T) {
	first := rand.Uint64() >> 32
	t.Logf("seeds from %d", first)
	broken := 0
	for seed := first; seed < first+6; seed++ {
		if runModel(t, seed, modelPlan{days: 2, reckless: true}).failure != nil {
			broken++
		}
	}
	if broken < 3 {
		t.Errorf("Expected most schedules to break the zone, got %d of 6", broken)
	}
}
