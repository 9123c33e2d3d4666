import { connect } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';
import type { VersionRequest } from '../registry-source/protocol.ts';
import { addressOf } from './session.ts';

const MAX_BYTES = 16 * 1024;

/** Asks with the command `srvr`, which servers permit by default. Resolves to undefined if this one does not. */
export function readVersion(
  { server, timeoutMs, clock }: VersionRequest & { readonly clock: Clock },
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(addressOf(server));
    const end = () => socket.destroy();
    const timer = clock.setTimer(timeoutMs, end);
    signal.addEventListener('abort', end, { once: true });
    socket.on('connect', () => socket.write('srvr'));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.length > MAX_BYTES) end();
    });
    socket.on('error', end);
    socket.on('close', () => {
      timer[Symbol.dispose]();
      signal.removeEventListener('abort', end);
      resolve(/^Zookeeper version: ([0-9][0-9A-Za-z.]{0,31})/.exec(text)?.[1]);
    });
  });
}
