package lookup

// Parse is for the fuzz tests, which are slow over HTTP.
var Parse = parse
