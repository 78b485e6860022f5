// Package observe looks at a zone from outside, as its resolvers and its parent
// see it: the apex of every nameserver, asked directly at each address over UDP
// and over TCP, and the parent's DS and delegation NS. It needs no access to
// anything, and knows nothing of our configuration, state or phases.
//
// What was seen is a [Sight]: plain values, with the signatures verified
// already. What follows from it, which key is missing where and whose data does
// not verify with whose keys, are methods of Sight, which ask nobody.
package observe
