package hostile

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// ownCPU returns how long the process has computed so far.
func ownCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// milliseconds is for figures of a benchmark.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkAttack measures what one announcement costs whose peer attacks: CPU
// of the whole process, the server's share included, questions, memory; and the
// CPU that unbound takes to judge the same answers by itself.
func BenchmarkAttack(b *testing.B) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nattack\tverdict\tms CPU\tquestions\tMB allocated\tunbound\tms CPU\t")
	for _, a := range attacks() {
		b.Run(a.name, func(b *testing.B) {
			w := newWorld(b)
			a.arm(w)
			s := serve(b, w)
			collect(b.Context(), newFetcher(b, s, s.addr()), w.host) // the server has its answers ready now
			s.takeAsked()
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ReportAllocs()
			start, verdict := ownCPU(b), ""
			for b.Loop() {
				verdict = collect(b.Context(), newFetcher(b, s, s.addr()), w.host).Verdict.String()
			}
			cpu := milliseconds(ownCPU(b)-start) / float64(b.N)
			runtime.ReadMemStats(&after)
			allocated := float64(after.TotalAlloc-before.TotalAlloc) / float64(b.N) / (1 << 20)
			asked := float64(s.takeAsked()) / float64(b.N)
			b.ReportMetric(cpu, "ms-CPU/op")
			b.ReportMetric(asked, "questions/op")
			fmt.Fprintf(table, "%s\t%s\t%.1f\t%.0f\t%.1f\t", a.name, verdict, cpu, asked, allocated)
			if judged, took, ok := unboundCost(b, s); ok {
				b.ReportMetric(milliseconds(took), "ms-CPU-unbound")
				fmt.Fprintf(table, "%s\t%.1f\t", judged, milliseconds(took))
			}
			fmt.Fprintln(table)
		})
	}
	table.Flush()
}

// unboundCost has a fresh unbound judge the announcement, and returns what it
// made of it and for how long it computed. It is not ok where that takes long
// for other reasons, or unbound is missing.
func unboundCost(b *testing.B, s *server) (verdict string, cpu time.Duration, ok bool) {
	if _, err := findUnbound(); err != nil || s.w.slow || s.w.everywhere || s.w.datagram != nil {
		return "", 0, false
	}
	u := startUnbound(b, s)
	defer u.Stop()
	start := u.cpu(b)
	verdict = u.verdict(s.w.owner())
	return verdict, u.cpu(b) - start, true
}
