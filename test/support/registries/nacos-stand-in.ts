import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** One host, as Nacos answers it. */
export interface NacosHost {
  readonly ip: string;
  readonly port?: unknown;
  readonly weight?: unknown;
  readonly healthy?: boolean;
  readonly enabled?: boolean;
  readonly clusterName?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Answers like a Nacos server for what a real one of this project cannot show: other versions, and the life of tokens. */
export class NacosStandIn implements AsyncDisposable {
  /** The APIs that it has. */
  readonly apis = new Set<'v3' | 'v1'>(['v3', 'v1']);
  hosts: readonly NacosHost[] = [];
  password: string | undefined;
  tokenTtl = 18_000;
  /** Whether `,` names all clusters in v3. */
  listsAllClusters = true;
  /** Of lists of single clusters; undefined: they are answered. */
  clusterListStatus: number | undefined;
  /** Of the login; undefined: it is answered. */
  loginStatus: number | undefined;
  /** Whether logins get no answer. */
  isSilentAtLogin = false;
  /** Whether tokens allow nothing. */
  hasNoRights = false;
  /** A service that no token may read. */
  forbidden: string | undefined;
  readonly requests: string[] = [];
  readonly #tokens = new Set<string>();
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  static async start(): Promise<NacosStandIn> {
    const standIn = new NacosStandIn();
    await once(standIn.#server.listen(0, '127.0.0.1'), 'listening');
    return standIn;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  get logins(): number {
    return this.requestsFor('login');
  }

  requestsFor(part: string): number {
    return this.requests.filter((path) => path.includes(part)).length;
  }

  /** As after a restart with another secret. */
  invalidateTokens(): void {
    this.#tokens.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    this.requests.push(pathname);
    const body = new URLSearchParams(await text(request));
    if (this.isSilentAtLogin && pathname.endsWith('/login')) return;
    const [status, answer] = this.#answer(pathname, searchParams, body, request.headers.authorization);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  #answer(
    path: string,
    query: URLSearchParams,
    body: URLSearchParams,
    authorization: string | undefined,
  ): readonly [number, unknown] {
    const [, , api] = path.split('/');
    if (!this.apis.has(api as 'v3')) return [404, { error: 'Not Found' }];
    if (path.endsWith('/login')) return this.#logIn(body);
    const isKnown = this.#tokens.has(authorization?.replace('Bearer ', '') ?? '');
    if (this.password !== undefined && (!isKnown || this.hasNoRights)) return [403, { error: 'Forbidden' }];
    if (this.forbidden !== undefined && query.get('serviceName') === this.forbidden) return [403, {}];
    switch (path) {
      case '/nacos/v3/client/ns/instance/list':
        return [200, { code: 0, data: this.#enabled(query.get('clusterName') ?? 'DEFAULT') }];
      case '/nacos/v1/ns/instance/list':
        return [200, { hosts: this.#enabled(',') }];
      case '/nacos/v3/admin/ns/instance/list':
        return this.#cluster(query, (data) => ({ code: 0, data }));
      case '/nacos/v1/ns/catalog/instances':
        return this.#cluster(query, (list) => ({ list, count: list.length }));
      case '/nacos/v3/admin/core/state':
        return [200, { code: 0, data: { version: '3.1.0' } }];
      case '/nacos/v1/console/server/state':
        return [200, { version: '2.0.3' }];
      default:
        return [404, { error: 'Not Found' }];
    }
  }

  #logIn(body: URLSearchParams): readonly [number, unknown] {
    if (this.loginStatus !== undefined) return [this.loginStatus, {}];
    if (body.get('password') !== this.password) return [500, { error: 'Internal Server Error' }];
    const accessToken = `token-${this.#tokens.size + 1}-${this.logins}`;
    this.#tokens.add(accessToken);
    return [200, { accessToken, tokenTtl: this.tokenTtl }];
  }

  #enabled(clusters: string): readonly object[] {
    const names = clusters.split(',').filter((name) => name !== '');
    const all = names.length === 0 && this.listsAllClusters;
    return this.hosts
      .map(completed)
      .filter(({ enabled, clusterName }) => enabled && (all || names.includes(clusterName)));
  }

  #cluster(
    query: URLSearchParams,
    answer: (hosts: readonly object[]) => unknown,
  ): readonly [number, unknown] {
    if (this.clusterListStatus !== undefined) return [this.clusterListStatus, {}];
    const hosts = this.hosts
      .map(completed)
      .filter(({ clusterName }) => clusterName === query.get('clusterName'));
    return hosts.length === 0 ? [404, { code: 30_000 }] : [200, answer(hosts)];
  }
}

function completed(host: NacosHost) {
  return {
    port: 8080,
    weight: 1,
    healthy: true,
    enabled: true,
    clusterName: 'DEFAULT',
    metadata: {},
    ...host,
  };
}
