import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { monotonicMs } from './monotonic.ts';

/** On every request of an instrumented process: who sent it. */
export const SIGNATURE_HEADER = 'x-test-operator';

/**
 * Preloaded into a process that a test starts with `OPERATOR_NAME`. It signs each of its requests with this name, so that
 * whoever receives them can tell several operators apart, and prints a line when it begins one and when it has an answer,
 * so that those which it did not begin can be told too. Times are those of the machine's monotonic clock, in milliseconds,
 * so that records of several processes can be compared. SIGUSR2 sets its wall clock forward by an hour, and no timer.
 */
const name = process.env['OPERATOR_NAME'];
if (name !== undefined) {
  const begun = new WeakMap<ClientRequest, number>();
  subscribe('http.client.request.created', (message) => {
    const { request } = message as { readonly request: ClientRequest };
    request.setHeader(SIGNATURE_HEADER, name);
    begun.set(request, monotonicMs());
    process.stderr.write(`sent ${request.method} ${request.path} ${begun.get(request)}\n`);
  });
  subscribe('http.client.response.finish', (message) => {
    const { request, response } = message as {
      readonly request: ClientRequest;
      readonly response: IncomingMessage;
    };
    const { statusCode } = response;
    process.stderr.write(`answered ${request.method} ${request.path} ${begun.get(request)} ${statusCode}\n`);
  });
  process.once('SIGUSR2', () => {
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
    process.stderr.write('the wall clock was set forward\n');
  });
}
