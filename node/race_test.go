//go:build race

package node

// raceFactor is by how much less is done under the race detector, which makes
// everything some ten times slower.
const raceFactor = 10
