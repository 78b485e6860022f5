// Package hostile holds the collection of announcements against the worst
// answers that a peer, a resolver or someone on the path can send.
//
// One server answers for a whole signed hierarchy and does to its answers what
// an attack says: KeyTrap (CVE-2023-50387) and what becomes of it for those who
// know our limits, NSEC3 (CVE-2023-50868), size, delegations and aliases that
// lead nowhere, octets that are no message, connections that drip or reset. It
// is asked in two positions: as the resolver itself, and as the authoritative
// server behind a real unbound. Each attack says which verdicts are right.
//
// What an attack costs is no matter of tests, which would fail on a machine that
// is slow or busy, but of a benchmark. It prints a table: attack, verdict, CPU of
// one announcement that nothing is known of yet, questions, memory allocated, and
// beside it what unbound makes of the same answers by itself and the CPU it takes.
// The server runs in the same process, so its share is in the figures.
//
//	go test ./test/hostile -run '^$' -bench . -benchtime 3x
//
// The aim is 50 ms. On two cores of an AMD EPYC that others used too, the worst
// were these (ms CPU):
//
//	attack                      mske  unbound 1.17.1
//	DenialJam RSA-4096            51   34
//	ChainJam P-384                47   52
//	Large RRset P-256             42   18
//	DNSKEY KeySigTrap RSA-4096    35   58
//	DNSKEY KeySigTrap P-384       20  243
//	KeySigTrap P-384              27   86
//	NSEC3 100 iterations          27   32
//	NSEC3 no encloser             25  229
//	HashTrap SHA256               13   14
//	Large OPT                      3  469
package hostile
