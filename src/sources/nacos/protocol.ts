import { compareText } from '../../model/keys.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
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
  ServiceNotAllowed,
  type VersionRequest,
} from '../registry-source/protocol.ts';
import { ApiMissingError, isMissingApi } from './api-missing.ts';
import {
  API_VERSIONS,
  type ApiVersion,
  enabledInCluster,
  type InstanceList,
  type ServiceScope,
} from './api-versions.ts';
import {
  areSame,
  DEFAULT_CLUSTER,
  endpointsOf,
  instanceOf,
  type NacosInstance,
  nacosHost,
} from './instances.ts';
import { Login } from './login.ts';
import { DEFAULT_GROUP, type NacosBackend, type NacosSection } from './schema.ts';

type Instances = readonly NacosInstance[];

/** The last answer: Nacos has no revision to compare. */
interface Last {
  readonly instances: Instances;
  /** Instances that are missing in it. The server has not said yet whether they are disabled. */
  readonly unresolved: Instances;
}

/** Where and how one request is sent. */
interface Target {
  readonly version: ApiVersion;
  readonly server: URL;
  readonly scope: ServiceScope;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Between the group and the name of a service. */
const GROUP_SEPARATOR = '@@';
/** Clusters whose disabled instances are looked for in one answer. */
const MAX_CLUSTERS = 16;

/** Polls the list of a service's instances. */
export class NacosProtocol implements RegistryProtocol<NacosInstance, Last> {
  readonly type = 'Nacos';
  readonly blocking = false;
  readonly probe: ServiceQuery;
  readonly #section: NacosSection;
  readonly #http: RegistryHttp;
  readonly #clock: Clock;
  readonly #login: Login;
  /** By server: the API that answered last. */
  readonly #versions = new Map<string, ApiVersion>();
  /** Servers that have answered v3 with the instances of all clusters. */
  readonly #listAllClusters = new Set<string>();

  constructor({ section, secret, limits, clock, observer }: ProtocolOptions<NacosSection>) {
    this.#section = section;
    this.probe = { service: PROBE_SERVICE, options: { group: section.groups?.[0] ?? DEFAULT_GROUP } };
    this.#clock = clock;
    this.#login = new Login(clock);
    this.#http = new RegistryHttp({
      registry: { secret },
      tls: section.tls,
      limits,
      observer,
    });
  }

  key({ service, options }: ServiceQuery): string {
    return `${groupOf(options)}${GROUP_SEPARATOR}${service}`;
  }

  async ask(
    { query, server, cursor, timeoutMs }: InstancesRequest<Last>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<NacosInstance, Last>> {
    this.#assertScope(query);
    const scope = {
      namespaceId: this.#section.namespaceId,
      group: groupOf(query.options),
      service: query.service,
    };
    const answer = await this.#withApi(server, async (version) => {
      const target = { version, server, scope, timeoutMs, signal };
      const enabled = await this.#listEnabled(target, cursor);
      return await this.#withDisabled(target, enabled, cursor);
    });
    const isUnchanged =
      cursor !== undefined &&
      areSame(answer.instances, cursor.instances) &&
      areSame(answer.unresolved, cursor.unresolved);
    // The last answer is kept, so that an answer without a change allocates nothing that stays.
    return isUnchanged ? { instances: undefined, cursor } : { instances: answer.instances, cursor: answer };
  }

  async version({ server, timeoutMs }: VersionRequest, signal: AbortSignal): Promise<string | undefined> {
    const { statePath, state } = this.#versions.get(server.href) ?? API_VERSIONS[0];
    const url = urlOf(server, statePath);
    const { status, text } = await this.#http.client().send({ method: 'GET', url, timeoutMs }, signal);
    return status === 200 ? state.safeParse(jsonOf(text)).data : undefined;
  }

  api(server: URL): string | undefined {
    return this.#versions.get(server.href)?.name;
  }

  placeOptions() {
    return undefined;
  }

  endpoints(instances: readonly NacosInstance[], options: unknown) {
    return endpointsOf(instances, options as NacosBackend | undefined);
  }

  close(): void {
    this.#login.close();
    this.#http.close();
  }

  /** Calls `use` with the API that the server answered last, or else with the newest that it has. */
  async #withApi<T>(server: URL, use: (version: ApiVersion) => Promise<T>): Promise<T> {
    const known = this.#versions.get(server.href);
    const others = API_VERSIONS.filter((version) => version !== known);
    for (const version of known === undefined ? others : [known, ...others]) {
      try {
        const result = await use(version);
        this.#versions.set(server.href, version);
        return result;
      } catch (error) {
        if (!(error instanceof ApiMissingError)) throw error;
      }
    }
    this.#versions.delete(server.href);
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${server.host} has no Nacos API that the operator supports`,
      remedy: 'check the URL in servers, and add its context path if it is not /nacos',
    });
  }

  async #listEnabled(target: Target, last: Last | undefined): Promise<Instances> {
    const { server, version } = target;
    const instances = await this.#list(target, version.list);
    if (version.name !== 'v3') return instances;
    if (instances.length === 0) await this.#assertEmpty(target, last?.instances ?? []);
    else this.#listAllClusters.add(server.href);
    return instances;
  }

  /**
   * How v3 names all clusters is not documented. An empty list must not mean that the server does not understand it, or no
   * longer after an upgrade.
   */
  async #assertEmpty(target: Target, last: Instances): Promise<void> {
    const { server } = target;
    const clusters = new Set(last.map(({ cluster }) => cluster));
    if (clusters.size === 0 && !this.#listAllClusters.has(server.href)) clusters.add(DEFAULT_CLUSTER);
    for (const cluster of [...clusters].slice(0, MAX_CLUSTERS)) {
      if ((await this.#list(target, enabledInCluster(cluster))).length === 0) continue;
      throw new RegistryError('InvalidAnswer', 'registry', {
        problem: `${server.host} does not list the instances of all clusters at once`,
        remedy: 'use a version of Nacos that docs/registry-nacos.md lists',
      });
    }
  }

  /**
   * Adds the instances that were taken out of service. Nacos shows them only in lists of single clusters, which are read if an
   * instance of the last answer is missing, and if there is no other instance.
   */
  async #withDisabled(target: Target, enabled: Instances, last: Last | undefined): Promise<Last> {
    const listed = new Set(enabled.map(placeOf));
    const known = [...(last?.instances ?? []), ...(last?.unresolved ?? [])];
    const missing = known.filter((instance) => !listed.has(placeOf(instance)));
    const clusters = new Set(missing.map(({ cluster }) => cluster));
    if (enabled.length === 0) clusters.add(DEFAULT_CLUSTER);
    const missed = new Set(missing.map(placeOf));
    const disabled: NacosInstance[] = [];
    const unanswered = new Set<string>();
    const endsAtMs = this.#clock.monotonic() + target.timeoutMs;
    for (const cluster of [...clusters].slice(0, MAX_CLUSTERS)) {
      // The others are asked with the next polls.
      const isLate = this.#clock.monotonic() > endsAtMs;
      const found = isLate ? undefined : await this.#listCluster(target, cluster);
      if (found === undefined) unanswered.add(cluster);
      for (const instance of found ?? []) {
        const place = placeOf(instance);
        // A missing instance that is enabled was so between the two requests.
        if (!listed.has(place) && (!instance.enabled || missed.has(place))) disabled.push(instance);
      }
    }
    return {
      instances: [...enabled, ...disabled].sort(byPlace),
      unresolved: missing.filter(({ cluster }) => unanswered.has(cluster)),
    };
  }

  /** Resolves to undefined if the server may answer another time. */
  async #listCluster(target: Target, cluster: string): Promise<Instances | undefined> {
    try {
      return await this.#list(target, target.version.listCluster(cluster));
    } catch (error) {
      target.signal.throwIfAborted();
      // Neither the service nor the cluster has an instance, or a proxy in front of Nacos blocks this list.
      if (error instanceof ApiMissingError) return [];
      if (!(error instanceof RegistryError)) throw error;
      return error.scope === 'server' ? undefined : [];
    }
  }

  async #list(target: Target, list: InstanceList): Promise<Instances> {
    const { server, scope, timeoutMs, signal } = target;
    const http = this.#http.client();
    const url = urlOf(server, list.path);
    for (const [name, value] of Object.entries(list.parameters(scope))) url.searchParams.set(name, value);
    let collector = new InstanceCollector<NacosInstance>();
    const send = async (token: string | undefined) => {
      collector = new InstanceCollector();
      // Nacos 1 and the first of Nacos 2 read no other header.
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const take = (item: Buffer) => collector.add(instanceIn(item, server));
      return await http.list({ url, headers, timeoutMs, path: [list.member], take }, signal);
    };
    assertComplete(await this.#authorized(http, target, send), list, server);
    return collector.instances;
  }

  /** Sends with the token of the user, if there is one, and with another token if the server rejected it. */
  async #authorized<Response extends Pick<HttpResponse, 'status'>>(
    http: HttpClient,
    { version, server, timeoutMs, signal }: Target,
    send: (token: string | undefined) => Promise<Response>,
  ): Promise<Response> {
    const credentials = this.#http.credentials(this.#section);
    if (credentials === undefined) return await send(undefined);
    const url = urlOf(server, version.loginPath);
    const request = { http, url, credentials, timeoutMs };
    const token = await this.#login.token(request, signal);
    const response = await send(token);
    if (response.status !== 401 && response.status !== 403) return response;
    // It has expired, or another secret signs the tokens of this server now.
    const other = await this.#login.tokenAfter(token, request, signal);
    return other === undefined ? response : await send(other);
  }

  #assertScope({ service, options }: ServiceQuery): void {
    // Servers without v3 take the group from such a name, whatever the parameter of the group says.
    if (service.includes(GROUP_SEPARATOR)) {
      throw new ServiceNotAllowed({
        problem: `the name of a service in Nacos must not contain ${GROUP_SEPARATOR}`,
        remedy: 'set nacos.group in the backend instead',
      });
    }
    const { groups } = this.#section;
    const group = groupOf(options);
    if (groups === undefined || groups.includes(group)) return;
    throw new ServiceNotAllowed({
      problem: `nacos.groups of the ServiceRegistry does not list group ${group}`,
      remedy: 'use another group in the backend, or ask the platform team to add it',
    });
  }
}

function groupOf(options: unknown): string {
  return (options as NacosBackend | undefined)?.group ?? DEFAULT_GROUP;
}

function urlOf(server: URL, path: string): URL {
  return urlBelow(server, server.pathname === '/' ? `/nacos${path}` : path);
}

function instanceIn(item: Buffer, server: URL): NacosInstance {
  try {
    return instanceOf(nacosHost.parse(parseJson(item)));
  } catch {
    throw notAList(server);
  }
}

/** Throws unless the answer has every instance that the list has. */
function assertComplete(response: HttpResponse | ListResponse, { rest }: InstanceList, server: URL): void {
  const { status } = response;
  if ('rest' in response) {
    if (rest.safeParse(response.rest).success) return;
    throw notAList(server);
  }
  if (isMissingApi(status)) throw new ApiMissingError();
  if (status === 401 || status === 403) {
    throw new RegistryError('Unauthorized', 'registry', {
      problem: `Nacos at ${server.host} rejected the request (${status})`,
      remedy:
        'grant the user read access to the namespace, or set nacos.usernameSecretRef and nacos.passwordSecretRef',
    });
  }
  if (status === 400) {
    throw new RegistryError('InvalidAnswer', 'service', {
      problem: `Nacos rejected the name of the service or of its group (400)`,
      remedy: 'correct it in the backend',
    });
  }
  throw new RegistryError('ServerError', 'server', { problem: `${server.host} answered HTTP ${status}` });
}

function notAList(server: URL): RegistryError {
  return new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} sent an invalid list of instances`,
    remedy: 'check that the URL in servers is that of a Nacos server',
  });
}

/** Nacos identifies an instance by it. */
function placeOf({ ip, port, cluster }: NacosInstance): string {
  return `${ip} ${port} ${cluster}`;
}

/** Nacos lists instances in no order. */
function byPlace(a: NacosInstance, b: NacosInstance): number {
  return compareText(a.ip, b.ip) || a.port - b.port || compareText(a.cluster, b.cluster);
}
