/**
 * Preloaded into a process that a test, the demo or the benchmark starts. The process exits with its parent: its standard
 * input is a pipe that the system closes even after SIGKILL. Not TypeScript, because Node would load its compiler into a
 * process whose memory is measured.
 */
const input = process.stdin;
input.on('end', () => process.exit(1));
input.on('error', () => process.exit(1));
input.resume();
input.unref();
