// Package version holds the version of this module, for packages that must not import its root.
package version

// Version is the version of this module, without the "v" of its tag. Between releases it is the next version followed by "-dev".
// RELEASE.md says when it changes.
const Version = "0.1.0-dev"
