import { isDeepStrictEqual } from 'node:util';
import { compareText } from '../../model/keys.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import type { HttpResponse } from '../../runtime/http/messages.ts';
import type { ProbeOptions, ServiceQuery } from '../registry.ts';
import { RegistryHttp, registryErrorOf } from '../registry-source/http-client.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  PROBE_SERVICE,
  RegistryError,
  type RegistryProtocol,
} from '../registry-source/protocol.ts';
import { API_VERSIONS, type ApiVersion } from './api-versions.ts';
import { endpointsOf, instanceOf, type NacosInstance } from './instances.ts';
import { type Credentials, jsonOf, Login } from './login.ts';
import { DEFAULT_GROUP, type NacosBackend, type NacosSection } from './schema.ts';

/** The instances of the last answer: Nacos has no revision to compare. */
type Last = readonly NacosInstance[];

/** Polls the list of a service's instances. */
export class NacosProtocol implements RegistryProtocol<NacosInstance, Last> {
  readonly type = 'Nacos';
  readonly blocking = false;
  readonly probe: ServiceQuery;
  readonly #section: NacosSection;
  readonly #http: RegistryHttp;
  readonly #login: Login;
  /** By server: the API that answered last. */
  readonly #versions = new Map<string, ApiVersion>();

  constructor({ section, secret, limits, clock }: ProbeOptions<NacosSection>) {
    this.#section = section;
    this.probe = { service: PROBE_SERVICE, options: { group: section.groups?.[0] ?? DEFAULT_GROUP } };
    this.#login = new Login(clock);
    this.#http = new RegistryHttp({
      registry: { secret },
      tls: section.tls,
      maxConnections: limits.concurrentQueries,
    });
  }

  key({ service, options }: ServiceQuery): string {
    return `${groupOf(options)}@@${service}`;
  }

  async ask(
    { query, server, cursor, timeoutMs }: InstancesRequest<Last>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<NacosInstance, Last>> {
    this.#assertGroup(query);
    const known = this.#versions.get(server.href);
    for (const version of known === undefined ? API_VERSIONS : [known]) {
      const response = await this.#get(version, { query, server, timeoutMs }, signal);
      if (isMissingApi(response)) continue;
      this.#versions.set(server.href, version);
      const instances = instancesIn(response, version, server);
      return isDeepStrictEqual(instances, cursor)
        ? { instances: undefined, cursor: instances }
        : { instances, cursor: instances };
    }
    // The server has been upgraded, or is none: the next query tries every API again.
    this.#versions.delete(server.href);
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${server.host} has no API of Nacos that the operator knows`,
      remedy: 'check the URL in servers, and its path where the server has another context path than /nacos',
    });
  }

  api(server: URL): string | undefined {
    return this.#versions.get(server.href)?.name;
  }

  endpoints(instances: readonly NacosInstance[], options: unknown) {
    return endpointsOf(instances, options as NacosBackend | undefined);
  }

  close(): void {
    this.#http.close();
  }

  async #get(
    version: ApiVersion,
    { query, server, timeoutMs }: Pick<InstancesRequest<Last>, 'query' | 'server' | 'timeoutMs'>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const http = this.#http.client();
    const url = urlOf(server, version.path);
    url.searchParams.set('namespaceId', this.#section.namespaceId);
    url.searchParams.set('groupName', groupOf(query.options));
    url.searchParams.set('serviceName', query.service);
    const credentials = this.#credentials();
    const send = async () => {
      const token = credentials && (await this.#token(http, version, server, credentials, timeoutMs));
      const headers = token === undefined ? {} : { accesstoken: token };
      return await http.send({ method: 'GET', url, headers, timeoutMs }, signal);
    };
    try {
      const response = await send();
      if (credentials === undefined || ![401, 403].includes(response.status)) return response;
      // The token has expired or was signed by another server.
      this.#login.forget(urlOf(server, version.loginPath));
      return await send();
    } catch (error) {
      throw signal.aborted ? (signal.reason as Error) : registryErrorOf(error, server);
    }
  }

  #token(
    http: HttpClient,
    version: ApiVersion,
    server: URL,
    credentials: Credentials,
    timeoutMs: number,
  ): Promise<string> {
    return this.#login.token(http, urlOf(server, version.loginPath), credentials, timeoutMs);
  }

  #assertGroup({ options }: ServiceQuery): void {
    const { groups } = this.#section;
    const group = groupOf(options);
    if (groups === undefined || groups.includes(group)) return;
    throw new RegistryError('Unauthorized', 'service', {
      problem: `nacos.groups of the ServiceRegistry does not list group ${group}`,
      remedy: 'use another group in the backend, or ask the platform team to add it',
    });
  }

  #credentials(): Credentials | undefined {
    const { usernameSecretRef, passwordSecretRef } = this.#section;
    if (usernameSecretRef === undefined || passwordSecretRef === undefined) return undefined;
    return {
      username: this.#http.secret(usernameSecretRef),
      password: this.#http.secret(passwordSecretRef),
    };
  }
}

function groupOf(options: unknown): string {
  return (options as NacosBackend | undefined)?.group ?? DEFAULT_GROUP;
}

function urlOf(server: URL, path: string): URL {
  const url = new URL(server);
  const context = server.pathname === '/' ? '/nacos' : server.pathname.replace(/\/$/, '');
  url.pathname = context + path;
  return url;
}

/** Spring answers 404 for a path that it does not serve, Nacos 3.2 answers 410 for an API that it has removed. */
function isMissingApi({ status }: HttpResponse): boolean {
  return status === 404 || status === 410;
}

function instancesIn(response: HttpResponse, { answer }: ApiVersion, server: URL): Last {
  const { status, text } = response;
  if (status === 401 || status === 403) {
    throw new RegistryError('Unauthorized', 'registry', {
      problem: `Nacos at ${server.host} rejected the request (${status})`,
      remedy:
        'grant the user read access to the namespace, or set nacos.usernameSecretRef and nacos.passwordSecretRef',
    });
  }
  if (status !== 200) {
    throw new RegistryError('ServerError', 'server', { problem: `${server.host} answered HTTP ${status}` });
  }
  const parsed = answer.safeParse(jsonOf(text));
  // What is not UTF-8 was decoded to this character.
  if (parsed.success && !text.includes('\uFFFD')) return parsed.data.map(instanceOf).sort(byPlace);
  throw new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} sent a list of instances that is not valid`,
    remedy: 'check that the URL in servers is that of a Nacos server',
  });
}

/** Nacos lists instances in no order. */
function byPlace(a: NacosInstance, b: NacosInstance): number {
  return compareText(a.ip, b.ip) || a.port - b.port || compareText(a.cluster, b.cluster);
}
