import type { IncomingHttpHeaders } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { HttpResponse, ListResponse } from '../../runtime/http/messages.ts';
import type { ProtocolOptions, ServiceQuery } from '../registry.ts';
import { jsonOf, RegistryHttp, urlBelow } from '../registry-source/http-client.ts';
import { InstanceCollector } from '../registry-source/instance-collector.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  PROBE_SERVICE,
  RegistryError,
  type RegistryProtocol,
  type VersionRequest,
} from '../registry-source/protocol.ts';
import { type ConsulInstance, endpointsOf, healthEntry, instanceOf } from './instances.ts';
import type { ConsulBackend, ConsulSection } from './schema.ts';

/** Consul's index of the answer, for which the next query waits to rise. */
type Index = number;

/** The last answer. An index says nothing about instances after Consul lost its state, so both are compared. */
interface Last {
  readonly index: Index;
  readonly instances: readonly ConsulInstance[];
}

const agentSelf = z.object({ Config: z.object({ Version: z.string().min(1).max(64) }) });

/** A blocking query may take this part of its wait longer: Consul spreads the wake-ups. */
const WAIT_JITTER = 1 / 16;

/** Asks one service per request by blocking queries of `/v1/health/service/NAME`. */
export class ConsulProtocol implements RegistryProtocol<ConsulInstance, Last> {
  readonly type = 'Consul';
  readonly blocking = true;
  readonly probe: ServiceQuery = { service: PROBE_SERVICE, options: undefined };
  readonly #section: ConsulSection;
  readonly #http: RegistryHttp;
  /** Servers that do not tell whether ACLs emptied a list. */
  readonly #silentAboutAcls = new Set<string>();

  constructor({ section, secret, limits, observer }: ProtocolOptions<ConsulSection>) {
    this.#section = section;
    this.#http = new RegistryHttp({
      registry: { secret },
      tls: section.tls,
      limits,
      observer,
    });
  }

  /** Consul ignores the case of names. Otherwise a tenant could have one large service read and kept any number of times. */
  key({ service }: ServiceQuery): string {
    return service.toLowerCase();
  }

  async ask(
    request: InstancesRequest<Last>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<ConsulInstance, Last>> {
    const { cursor } = request;
    const first = await this.#query(request, 'default', signal);
    // The server lags behind the one that answered before, or the cluster was restored: only its leader knows which.
    const answer =
      cursor !== undefined && first.index < cursor.index
        ? await this.#query({ ...request, waitMs: 0 }, 'consistent', signal)
        : first;
    if (answer.instances.length === 0) await this.#assertTellsAboutAcls(request, signal);
    // The last instances are kept, so that an answer without a change allocates nothing that stays.
    return isDeepStrictEqual(answer.instances, cursor?.instances)
      ? { instances: undefined, cursor: { index: answer.index, instances: (cursor ?? answer).instances } }
      : { instances: answer.instances, cursor: answer };
  }

  /** A token without `agent:read` may not read it. */
  async version({ server, timeoutMs }: VersionRequest, signal: AbortSignal): Promise<string | undefined> {
    const url = urlBelow(server, '/v1/agent/self');
    const response = await this.#http
      .client()
      .send({ method: 'GET', url, timeoutMs, headers: this.#headers() }, signal);
    if (response.status !== 200) return undefined;
    const version = agentSelf.safeParse(jsonOf(response.text)).data?.Config.Version;
    if (version !== undefined && isSilentAboutAcls(version)) this.#silentAboutAcls.add(server.href);
    else this.#silentAboutAcls.delete(server.href);
    return version;
  }

  placeOptions(options: unknown) {
    const address = (options as ConsulBackend | undefined)?.address;
    return address === undefined || address === 'Service' ? undefined : { address };
  }

  endpoints(instances: readonly ConsulInstance[], options: unknown) {
    return endpointsOf(instances, options as ConsulBackend | undefined);
  }

  close(): void {
    this.#http.close();
  }

  async #assertTellsAboutAcls({ server, timeoutMs }: VersionRequest, signal: AbortSignal): Promise<void> {
    const { tokenSecretRef } = this.#section;
    if (tokenSecretRef === undefined || !this.#silentAboutAcls.has(server.href)) return;
    // It may have been upgraded.
    await this.version({ server, timeoutMs }, signal);
    if (!this.#silentAboutAcls.has(server.href)) return;
    throw new RegistryError('Filtered', 'registry', {
      problem: 'Consul before 1.11 does not show whether its ACLs removed instances from a list',
      remedy: 'upgrade Consul',
    });
  }

  async #query(
    { query, server, cursor, waitMs, timeoutMs }: InstancesRequest<Last>,
    consistency: 'default' | 'consistent',
    signal: AbortSignal,
  ): Promise<Last> {
    const headers = this.#headers();
    const collector = new InstanceCollector<ConsulInstance>();
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const response = await this.#http.client().list(
      {
        url: this.#url(
          server,
          query.service,
          waitMs > 0 ? { index: cursor?.index, waitMs } : undefined,
          consistency,
        ),
        timeoutMs: timeoutMs + waitMs * (1 + WAIT_JITTER),
        headers,
        take: (item) => collector.add(instanceOf(parsed(item, decoder, server))),
      },
      signal,
    );
    assertComplete(response, server, 'x-consul-token' in headers);
    return { instances: collector.instances, index: indexOf(response.headers, server) };
  }

  #headers(): Readonly<Record<string, string>> {
    const { tokenSecretRef } = this.#section;
    return tokenSecretRef === undefined ? {} : { 'x-consul-token': this.#http.headerSecret(tokenSecretRef) };
  }

  #url(
    server: URL,
    service: string,
    blocking: { readonly index: Index | undefined; readonly waitMs: number } | undefined,
    consistency: 'default' | 'consistent',
  ): URL {
    const { datacenter, namespace, partition } = this.#section;
    const url = urlBelow(server, `/v1/health/service/${encodeURIComponent(service)}`);
    const set = (name: string, value: string | undefined) => {
      if (value !== undefined) url.searchParams.set(name, value);
    };
    set('dc', datacenter);
    set('ns', namespace);
    set('partition', partition);
    if (consistency === 'consistent') set('consistent', '');
    if (blocking?.index !== undefined) {
      set('index', `${blocking.index}`);
      set('wait', `${Math.ceil(blocking.waitMs)}ms`);
    }
    return url;
  }
}

/** Consul before 1.11. */
function isSilentAboutAcls(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < 1 || (major === 1 && minor < 11);
}

function parsed(
  item: Buffer,
  decoder: { decode(item: Buffer): string },
  server: URL,
): z.output<typeof healthEntry> {
  try {
    return healthEntry.parse(JSON.parse(decoder.decode(item)));
  } catch {
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${server.host} sent an invalid instance`,
      remedy: 'check that the URL in servers is that of a Consul agent',
    });
  }
}

/** Throws unless the answer has every instance of the service. */
function assertComplete(
  response: HttpResponse | ListResponse,
  server: URL,
  hasToken: boolean,
): asserts response is ListResponse {
  const { status, headers } = response;
  if (status === 401 || status === 403) {
    throw new RegistryError('Unauthorized', 'registry', {
      problem: `Consul at ${server.host} rejected the ${hasToken ? 'token' : 'request without a token'} (${status})`,
      remedy: hasToken
        ? 'correct the token in the Secret of consul.tokenSecretRef, or grant it service:read and node:read'
        : 'set consul.tokenSecretRef',
    });
  }
  if (status >= 400 && status < 500 && status !== 404 && status !== 429) {
    // It must not move the other services to another server. Tenants see the message, so it does not name the server.
    throw new RegistryError('ServerError', 'service', {
      problem: `Consul rejected the request for the service (HTTP ${status})`,
      remedy: 'check its name, and ask the platform team to check consul in the ServiceRegistry',
    });
  }
  if (status !== 200) {
    throw new RegistryError('ServerError', 'server', {
      problem: `${server.host} answered HTTP ${status}`,
      remedy: 'check the log of the agent, and that the Consul servers have a leader',
    });
  }
  // Without the first header a list that ACLs emptied looks like a service without instances.
  const isFiltered = headers['x-consul-results-filtered-by-acls'] === 'true';
  const isAnonymous = !hasToken && headers['x-consul-default-acl-policy'] === 'deny';
  if (isFiltered || isAnonymous) {
    throw new RegistryError('Filtered', 'registry', {
      problem: 'Consul left out instances because of its ACLs',
      remedy: `${hasToken ? 'grant the token' : 'set consul.tokenSecretRef to a token with'} service:read and node:read for this service`,
    });
  }
}

function indexOf(headers: IncomingHttpHeaders, server: URL): Index {
  const index = Number(headers['x-consul-index']);
  // Consul's documentation: an index must be greater than zero.
  if (Number.isSafeInteger(index) && index > 0) return index;
  throw new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} answered without the header X-Consul-Index`,
    remedy: 'check that the URL in servers is that of a Consul agent',
  });
}
