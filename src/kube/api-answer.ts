import type { IncomingMessage } from 'node:http';
import { retryAfterMs } from '../runtime/http/retry-after.ts';
import { KubeApiError } from './kube-error.ts';

const MAX_LINE = 32 * 1024 * 1024;
const MAX_MESSAGE = 512;
/** More than any response that the operator expects. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** The API server's own error responses are smaller. A larger one comes from a proxy, and the rest of it is not read. */
const MAX_REFUSAL_BYTES = 1024 * 1024;

/** The whole body of a response. Rejects with `KubeApiError`, or with the signal's reason. */
export async function readAll(
  response: IncomingMessage,
  signal: AbortSignal,
  maxBytes = MAX_ANSWER_BYTES,
): Promise<string> {
  const isRefusal = response.statusCode === undefined || response.statusCode >= 300;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (isRefusal && bytes > MAX_REFUSAL_BYTES) break;
      if (bytes > maxBytes) {
        throw new KubeApiError(`the API server's response is larger than ${maxBytes} bytes`, {
          tooLarge: true,
        });
      }
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof KubeApiError) throw error;
    throw new KubeApiError(`the API server's response was cut off: ${plainMessage(error)}`);
  }
  return decode(new TextDecoder('utf-8', { fatal: true }), Buffer.concat(chunks));
}

/** Splits the body into lines. Lines and characters may span chunks. Calls `onBytes` for every chunk. */
export async function* lines(response: IncomingMessage, onBytes: () => void): AsyncIterable<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const chunk of response) {
    onBytes();
    const text = decode(decoder, chunk as Buffer, { stream: true });
    let from = 0;
    // Only the new text is searched. Searching `rest` again would take quadratic time for a long line.
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      const line = rest + text.slice(from, end);
      rest = '';
      from = end + 1;
      if (line !== '') yield line;
    }
    rest += text.slice(from);
    if (rest.length > MAX_LINE)
      throw new KubeApiError('the API server sent a watch event larger than 32 MiB');
  }
  if (rest !== '') throw new KubeApiError('the watch ended in the middle of an event');
}

/** Rejects invalid UTF-8: a replacement character would silently change a name or an address. */
function decode(
  decoder: InstanceType<typeof TextDecoder>,
  bytes: Buffer,
  options?: { readonly stream: boolean },
): string {
  try {
    return decoder.decode(bytes, options);
  } catch {
    throw new KubeApiError('the API server sent invalid UTF-8');
  }
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new KubeApiError('the API server sent invalid JSON');
  }
}

/** The error for a response with status 300 or higher. */
export function refusal(response: IncomingMessage, text: string): KubeApiError {
  let status: { readonly message?: unknown; readonly reason?: unknown } = {};
  try {
    status = (JSON.parse(text) ?? {}) as typeof status;
  } catch {
    // Not from the API server itself, for example HTML from a load balancer. The status code is enough.
  }
  const words = typeof status.message === 'string' ? status.message.slice(0, MAX_MESSAGE) : 'no reason given';
  return new KubeApiError(`the API server answered ${response.statusCode}: ${words}`, {
    status: response.statusCode,
    kubeReason: typeof status.reason === 'string' ? status.reason : undefined,
    retryAfterMs: retryAfterMs(response.headers['retry-after']),
  });
}

export function plainMessage(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason';
  const code = (error as NodeJS.ErrnoException).code;
  const message = error.message.slice(0, MAX_MESSAGE);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
