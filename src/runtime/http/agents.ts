import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

export interface TlsSettings {
  /** PEM with one or more certificate authorities. Absent: the default authorities of Node.js. */
  readonly ca?: string;
  /** PEM. */
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** Server name for SNI and for certificate verification. Absent: the host of the URL. */
  readonly serverName?: string;
  readonly insecureSkipVerify: boolean;
}

/** Keep-alive connections. All requests of one client share them, so that the total number is limited. */
export interface HttpAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

/** `maxConnections`: maximum number of concurrent connections per host. */
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

/** Closes idle connections. Connections with requests in flight close when these have ended. */
export function closeHttpAgents({ http, https }: HttpAgents): void {
  for (const agent of [http, https]) {
    // `agent.destroy()` would also abort requests in flight. With 0, their connections close when they have ended.
    agent.maxFreeSockets = 0;
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
  }
}
