import type { IncomingMessage } from 'node:http';
import { retryAfterMs } from '../runtime/http/retry-after.ts';
import { KubeApiError } from './kube-error.ts';

const MAX_LINE = 32 * 1024 * 1024;
const MAX_MESSAGE = 512;
/** No other answer that the operator reads is larger. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** A refusal without a reason within this much is not from the API server itself. */
const MAX_REFUSAL_BYTES = 1024 * 1024;

/** The whole body of an answer. */
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

/** Lines over chunk boundaries, also where those split a character; `onBytes` for every chunk. */
export async function* lines(response: IncomingMessage, onBytes: () => void): AsyncIterable<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const chunk of response) {
    onBytes();
    const text = decode(decoder, chunk as Buffer, { stream: true });
    let from = 0;
    // Only what is new is searched: searching the rest again would make a long line cost its square.
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

/** Text with a character replaced would be another name, or another address. */
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

/** The error that an answer with a status of 300 or more stands for. */
export function refusal(response: IncomingMessage, text: string): KubeApiError {
  let status: { readonly message?: unknown; readonly reason?: unknown } = {};
  try {
    status = (JSON.parse(text) ?? {}) as typeof status;
  } catch {
    // Not from the API server itself, e.g. HTML of a load balancer: the status code says enough.
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
