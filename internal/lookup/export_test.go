package lookup

// Parse is for fuzz tests, which would be slow over HTTP.
var Parse = parse
