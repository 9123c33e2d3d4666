/**
 * Preloaded into a process that a test, the demo or the benchmark starts: its standard input is a pipe from the starter,
 * which the system closes even after SIGKILL, and then the process ends too. Not TypeScript: Node would load its compiler
 * into a built program whose memory is measured.
 */
const input = process.stdin;
input.on('end', () => process.exit(1));
input.on('error', () => process.exit(1));
input.resume();
input.unref();
