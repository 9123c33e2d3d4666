import type { Socket } from 'node:net';

/**
 * Preloaded into a process that a test or the demo starts: its standard input is a pipe from the starter, which the
 * system closes even after SIGKILL, and then the process ends too.
 */
const input = process.stdin as Socket;
input.on('end', () => process.exit(1));
input.on('error', () => process.exit(1));
input.resume();
input.unref();
