package validate_test

import (
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// Names that end alike are within each other only where labels do.
func TestWithinIsAsTheLibrarySays(t *testing.T) {
	labels := []string{"a", "b", "ab", `a\.`, `\.a`, `\.`, `\\`, `a\\`, `\\\.`, `\000`, `\046`, "*", `\@`, `\255`}
	random := rand.New(rand.NewPCG(1, 2))
	name := func(below string) string {
		if below == "." {
			below = ""
		}
		for range random.IntN(3) {
			below = labels[random.IntN(len(labels))] + "." + below
		}
		if below == "" {
			return "."
		}
		return below
	}
	found := 0
	for range 100_000 {
		zone := name(".")
		child := name(name("."))
		if random.IntN(2) == 0 {
			child = name(zone)
		}
		want := dns.IsSubDomain(zone, child)
		if got := validate.Within(zone, child); got != want {
			t.Fatalf("Expected %s within %s: %v, got %v", child, zone, want, got)
		}
		if want {
			found++
		}
	}
	if found < 1000 || found > 99_000 {
		t.Errorf("Expected names of both kinds, got %d within", found)
	}
}
