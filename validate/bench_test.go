package validate_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// BenchmarkWorstAnswers shows what one session costs, of whatever answers: no
// more than a few milliseconds of CPU.
func BenchmarkWorstAnswers(b *testing.B) {
	for _, tc := range worst {
		b.Run(tc.name, func(b *testing.B) {
			x := &recorded{l: tc.world(b), answers: make(map[dns.Question]*dns.Msg)}
			trusted := anchors(b, x.l)
			collect := func() {
				s := validate.New(trusted, validate.Options{Now: clock}).Session(x)
				for _, qtype := range announced {
					_, _ = s.Lookup(b.Context(), tc.qname, qtype)
				}
				_, _ = s.Apex(b.Context(), tc.qname)
			}
			collect() // and record
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				collect()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkLookup is an announcement's validation by a chain that is known: the
// first time, and again when nothing has changed.
func BenchmarkLookup(b *testing.B) {
	l := lab.New(b, now)
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: "net."})
	l.Add(lab.Zone{Name: "_signal.ns1.example.net.", Records: "_multi.example.org TXT announcement\n"})
	x := &recorded{l: l, answers: make(map[dns.Question]*dns.Msg)}
	v := validator(b, l)
	look := func() {
		r, err := v.Session(x).Lookup(b.Context(), "_multi.example.org._signal.ns1.example.net.", dns.TypeTXT)
		if err != nil || r.Status != validate.Secure {
			b.Fatal(r, err)
		}
	}
	look() // and keep the chain
	for _, first := range []bool{true, false} {
		name := "again"
		if first {
			name = "first"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if first {
					validate.ForgetSignatures(v)
				}
				look()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu returns the CPU time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
