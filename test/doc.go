// Package test holds the tests that need real name servers: NSD, Knot, unbound,
// BIND and the PowerDNS recursor as peers, resolvers and judges of what mske
// serves. They are skipped where a program is missing, unless the environment
// variable MSKE_REQUIRE_PEERS is set: .ci/run sets it.
package test
