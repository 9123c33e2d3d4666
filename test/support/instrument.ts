import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';

/** On every request of an instrumented process: who sent it. */
export const SIGNATURE_HEADER = 'x-test-operator';

/**
 * Preloaded into a process that a test starts with `OPERATOR_NAME`. It signs each of its requests with this name, so that
 * whoever receives them can tell several operators apart, and prints a line for each, so that those which it did not begin
 * can be told too. SIGUSR2 sets its wall clock forward by an hour, and no timer.
 */
const name = process.env['OPERATOR_NAME'];
if (name !== undefined) {
  subscribe('http.client.request.created', (message) => {
    const { request } = message as { readonly request: ClientRequest };
    request.setHeader(SIGNATURE_HEADER, name);
    process.stderr.write(`sent ${request.method} ${request.path}\n`);
  });
  process.once('SIGUSR2', () => {
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
    process.stderr.write('the wall clock was set forward\n');
  });
}
