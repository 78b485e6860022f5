// Package observe looks at a zone from outside, as its resolvers and its parent
// see it: the apex of every nameserver, asked directly at each address over UDP
// and over TCP, and the parent's DS and delegation NS. It needs no access to
// anything, and knows nothing of our configuration, state or phases.
//
// What was seen is a [Sight]: plain values, with the signatures verified
// already. What follows from it, which key is missing where and whose data does
// not verify with whose keys, are methods of Sight, which ask nobody.
//
// All that is asked is bounded: hosts, addresses, time for each address and for
// a whole look, records and signatures that are considered. What is over a
// bound is an error at its place, not a fault of others.
//
// # Limitations
//
// An address is one place: servers behind an anycast address that differ are
// seen as whichever answers. DS comes through a resolver and may be as old as
// its TTL. Of a parent whose servers have the zone too there is no delegation
// to be seen: see [ParentServer].
package observe
