import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { monotonicMs } from './monotonic.ts';

/** The header with the name of the instrumented process that sent a request. */
export const SIGNATURE_HEADER = 'x-test-operator';

/**
 * Preloaded into a process that a test starts with `OPERATOR_NAME`. Each request contains this name in a header, so that
 * receivers can distinguish several operators. The process prints a line when it sends a request and when it receives the
 * response. Times are milliseconds of the machine's monotonic clock, so records of several processes are comparable. SIGUSR2
 * sets the wall clock forward by one hour without affecting timers.
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
