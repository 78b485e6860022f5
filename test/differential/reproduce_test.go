package differential

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// unsigned returns the zone files of a world without signatures, which differ
// each time that ECDSA makes them.
func unsigned(w *world) string {
	var text strings.Builder
	for _, z := range w.zones {
		for line := range strings.Lines(z.file()) {
			if !strings.Contains(line, "\tRRSIG\t") {
				text.WriteString(line)
			}
		}
	}
	return text.String()
}

func TestCasesAreMadeAgainFromSeedAndNumber(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for number := range 4 {
		a := newWorld(t, 7, number, "127.0.0.1", now)
		b := newWorld(t, 7, number, "127.0.0.1", now)
		if unsigned(a) != unsigned(b) {
			t.Errorf("Case %d: expected the same zones, got\n%s\nand\n%s", number, unsigned(a), unsigned(b))
		}
		if !slices.Equal(a.questions, b.questions) {
			t.Errorf("Case %d: expected the same questions, got\n%v\nand\n%v", number, a.questions, b.questions)
		}
	}
	if unsigned(newWorld(t, 7, 1, "127.0.0.1", now)) == unsigned(newWorld(t, 8, 1, "127.0.0.1", now)) {
		t.Error("Expected another seed to make other zones")
	}
}

func TestDamagesHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range damages() {
		if seen[d.name] {
			t.Errorf("Two damages are called %q", d.name)
		}
		seen[d.name] = true
		if d.plan == nil && d.file == nil && d.message == nil {
			t.Errorf("Damage %q does nothing", d.name)
		}
	}
}
