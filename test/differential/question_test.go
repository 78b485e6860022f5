package differential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxQuestions bounds the questions of a case.
const maxQuestions = 14

// announcement is the types of an announcement.
var announcement = []uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS}

// question is what validators are asked.
type question struct {
	name  string
	qtype uint16
}

func (q question) String() string { return fmt.Sprintf("%s %s", q.name, dns.Type(q.qtype)) }

// askQuestions chooses the questions of a case: what the damage is about, the
// announcement, and some of all the others.
func (w *world) askQuestions() {
	all := slices.Clone(w.targets)
	for _, qtype := range announcement {
		all = append(all, question{w.owner, qtype})
	}
	var others []question
	for _, z := range w.zones {
		others = append(others, z.questions()...)
	}
	w.rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for _, q := range append(all, others...) {
		if len(w.questions) < maxQuestions && !slices.Contains(w.questions, q) {
			w.questions = append(w.questions, q)
		}
	}
	w.rng.Shuffle(len(w.questions), func(i, j int) { w.questions[i], w.questions[j] = w.questions[j], w.questions[i] })
	if w.mixedCase {
		for i, q := range w.questions {
			w.questions[i].name = strings.ToUpper(q.name[:1]) + q.name[1:]
		}
	}
}

// questions returns what can be asked about a zone.
func (z *zone) questions() []question {
	all := []question{
		{z.name, dns.TypeDNSKEY}, {z.name, dns.TypeSOA}, {z.name, dns.TypeNS}, {z.name, dns.TypeTXT}, {z.name, dns.TypeDS},
		{z.name, dns.TypeMX}, {z.name, dns.TypeCDS}, {z.name, dns.TypeNSEC3PARAM},
		{z.at("www"), dns.TypeA}, {z.at("www"), dns.TypeAAAA}, {z.at("www"), dns.TypeDS}, {z.at("text"), dns.TypeTXT},
		{z.at("x.www"), dns.TypeA}, {z.at("nx"), dns.TypeA}, {z.at("nx"), dns.TypeDS}, {z.at("y.nx"), dns.TypeTXT},
		{z.at("*.wild"), dns.TypeTXT}, {z.at("*.wild"), dns.TypeMX},
		{z.at("x.wild"), dns.TypeTXT}, {z.at("x.y.wild"), dns.TypeA}, {z.at("x.wild"), dns.TypeMX}, {z.at("x.wild"), dns.TypeDS},
		{z.at("host.wild"), dns.TypeTXT}, {z.at("host.wild"), dns.TypeA}, {z.at("x.host.wild"), dns.TypeTXT},
		{z.at("deep"), dns.TypeA}, {z.at("c.deep"), dns.TypeTXT}, {z.at("a.b.c.deep"), dns.TypeTXT}, {z.at("x.c.deep"), dns.TypeTXT},
		{z.at("c.deep"), dns.TypeDS},
		{z.at("alias"), dns.TypeA}, {z.at("alias"), dns.TypeCNAME}, {z.at("alias"), dns.TypeMX}, {z.at("far"), dns.TypeA},
		{z.at("wildalias"), dns.TypeTXT},
		{z.at("x.starred"), dns.TypeA}, {z.at("x.starred"), dns.TypeTXT},
		{z.at("moved"), dns.TypeDNAME}, {z.at("moved"), dns.TypeTXT}, {z.at("a.b.c.moved"), dns.TypeTXT}, {z.at("nx.moved"), dns.TypeTXT},
		{z.at("zero"), dns.TypeA}, {z.at("_signal"), dns.TypeTXT},
	}
	for _, child := range z.children {
		all = append(all, question{child.name, dns.TypeDS}, question{child.name, dns.TypeNS}, question{child.at("single"), dns.TypeA})
	}
	return all
}
