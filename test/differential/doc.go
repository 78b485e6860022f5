// Package differential holds the verdicts of package validate against those of
// unbound and the PowerDNS recursor, on random DNS hierarchies.
//
// Each case is a world made from a seed and the number of the case: two to five
// levels of zones with algorithms, keys, DS records, denials, rolls and data of
// all kinds, an announcement somewhere in it, and in three of four cases one
// damage out of a list (damages), done while signing or by a proxy on the way
// of the answers. Worlds are served from signed zone files by NSD and Knot DNS
// in turn. Unbound and the recursor are asked about each, and our validator
// asks through both with CD. All verdicts, secure, insecure or bogus, have to
// agree, unless a rule (rules) with the section that says we are right explains
// why not. The announcement as a whole, collected by package fetch, must never
// be believed where neither peer believes a part of it. All damages have to
// come up, and those that break something to be noticed.
//
// The run that goes with go test ./... is a short one. The full run is
//
//	go test ./test/differential -v -cases 5000 -seed 0 -timeout 100m
//
// with -seed 0 for a seed of its own, which it prints. It ends with a table of
// disagreements by cause and of damages. A case that fails is made again by
//
//	go test ./test/differential -v -seed SEED -case NUMBER
//
// which keeps all files of its servers. The test is skipped where a server is
// missing, unless MSKE_REQUIRE_PEERS is set.
//
// # Limitations
//
// Nothing is signed by ED448, which Go does not have: signatures of algorithms
// that are not supported are noise. Both peers find zone cuts by asking for DS
// at each label, where we go by the signer of an RRSIG, so that what is damaged
// between matters to them alone.
package differential
