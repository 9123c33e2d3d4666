import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { TlsSettings } from './http-answer.ts';

/** Kept connections, shared by whatever speaks to the same interface, so that their number is bounded over all. */
export interface HttpAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

/** `concurrency`: connections to one host at once. */
export function createHttpAgents(tls: TlsSettings, concurrency: number): HttpAgents {
  const { ca, clientCert, clientKey, serverName, insecureSkipVerify } = tls;
  const kept = { keepAlive: true, maxSockets: concurrency };
  return {
    http: new HttpAgent(kept),
    https: new HttpsAgent({
      ...kept,
      rejectUnauthorized: !insecureSkipVerify,
      ...(ca === undefined ? {} : { ca }),
      ...(clientCert === undefined ? {} : { cert: clientCert }),
      ...(clientKey === undefined ? {} : { key: clientKey }),
      ...(serverName === undefined ? {} : { servername: serverName }),
    }),
  };
}

/** Closes idle connections; those of calls under way end after them. */
export function closeHttpAgents({ http, https }: HttpAgents): void {
  for (const agent of [http, https]) {
    // `agent.destroy()` would cut the calls under way as well; with 0 their connections end after them.
    agent.maxFreeSockets = 0;
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
  }
}
