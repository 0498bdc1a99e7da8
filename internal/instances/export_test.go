package instances

// Heartbeat sends a heartbeat.
var Heartbeat = (*Counter).heartbeat
