import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

export interface TlsSettings {
  /** PEM, one or more authorities. Absent: those of Node.js. */
  readonly ca?: string;
  /** PEM. */
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** Asked for by SNI and checked against the certificate. Absent: the host of the URL. */
  readonly serverName?: string;
  readonly insecureSkipVerify: boolean;
}

/** Connections that are kept alive. All requests of one client share them, so that their number is bounded over all. */
export interface HttpAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

/** `maxConnections`: to one host at once. */
export function createHttpAgents(tls: TlsSettings, maxConnections: number): HttpAgents {
  const { ca, clientCert, clientKey, serverName, insecureSkipVerify } = tls;
  const kept = { keepAlive: true, maxSockets: maxConnections };
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

/** Closes idle connections. Those of requests under way close after them. */
export function closeHttpAgents({ http, https }: HttpAgents): void {
  for (const agent of [http, https]) {
    // `agent.destroy()` would also cut the requests under way. With 0 their connections close after them.
    agent.maxFreeSockets = 0;
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
  }
}
