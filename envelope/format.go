package envelope

// Constants of the format; see the package doc.
const (
	magic   = 0xC1CED3D1 // C1 never occurs in UTF-8; then 'N', 'S', 'Q' with bit 7 set
	kind    = 0x10       // the high nibble of the byte after the magic
	version = 1
	prefix  = 7 // bytes before the entries

	maxEntries = 64
	maxKey     = 1<<7 - 1
	maxValue   = 1<<14 - 1

	marked = 0x80 // bit 7, set in every length byte
)

// length decodes two length bytes. ok is false if they are not length bytes.
func length(hi, lo byte) (n int, ok bool) {
	return int(hi&^marked)<<7 | int(lo&^marked), hi&lo&marked != 0
}

func appendLength(dst []byte, n int) []byte {
	return append(dst, marked|byte(n>>7), marked|byte(n))
}

// cutEntry splits the first entry off entries, which must be well formed and not empty.
func cutEntry[T string | []byte](entries T) (key, value, rest T) {
	k := 1 + int(entries[0]&^marked)
	v, _ := length(entries[k], entries[k+1])
	v += k + 2
	return entries[1:k], entries[k+2 : v], entries[v:]
}

// find returns the value of the first entry with a key, and its offset, or -1 if there is none.
func find[T string | []byte](entries T, key string) (value T, at int) {
	for rest := entries; len(rest) > 0; {
		k, v, after := cutEntry(rest)
		if equal(k, key) {
			return v, len(entries) - len(rest)
		}
		rest = after
	}
	return value, -1
}

// equal compares keys. It ignores the case of ASCII letters.
func equal[T string | []byte](a T, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if string(a) == b { // the common case
		return true
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
