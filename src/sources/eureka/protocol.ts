import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { compareText } from '../../model/keys.ts';
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
} from '../registry-source/protocol.ts';
import {
  applicationRest,
  type EurekaInstance,
  endpointsOf,
  eurekaInstance,
  instanceOf,
} from './instances.ts';
import type { EurekaBackend, EurekaSection } from './schema.ts';

/** The instances of the last answer: `apps__hashcode` counts only statuses, and `/apps/NAME` has no revision. */
type Last = readonly EurekaInstance[];

const emptyList = z.object({ applications: z.object({ application: z.array(z.unknown()) }) });

/** Polls `/apps/NAME`. */
export class EurekaProtocol implements RegistryProtocol<EurekaInstance, Last> {
  readonly type = 'Eureka';
  readonly blocking = false;
  readonly probe: ServiceQuery = { service: PROBE_SERVICE, options: undefined };
  readonly #section: EurekaSection;
  readonly #http: RegistryHttp;

  constructor({ section, secret, limits, observer }: ProtocolOptions<EurekaSection>) {
    this.#section = section;
    this.#http = new RegistryHttp({ registry: { secret }, tls: section.tls, limits, observer });
  }

  /** Eureka compares names of applications without regard to case. */
  key({ service }: ServiceQuery): string {
    return service.toUpperCase();
  }

  async ask(
    { query, server, cursor, timeoutMs }: InstancesRequest<Last>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<EurekaInstance, Last>> {
    const name = this.key(query);
    const collector = new InstanceCollector<EurekaInstance>();
    const response = await this.#http.client().list(
      {
        url: urlBelow(server, `/apps/${encodeURIComponent(name)}`),
        headers: this.#headers(),
        timeoutMs,
        path: ['application', 'instance'],
        take: (item) => collector.add(instanceOf(parsed(item, server))),
      },
      signal,
    );
    if (response.status === 404) await this.#assertEureka({ server, timeoutMs }, signal);
    else assertComplete(response, name, server, this.#section.usernameSecretRef !== undefined);
    const instances = [...collector.instances].sort(byPlace);
    return { instances: isDeepStrictEqual(instances, cursor) ? undefined : instances, cursor: instances };
  }

  placeOptions(options: unknown) {
    const { port, address } = (options ?? {}) as EurekaBackend;
    return port === undefined && address === undefined ? undefined : { port, address };
  }

  endpoints(instances: readonly EurekaInstance[], options: unknown) {
    return endpointsOf(instances, options as EurekaBackend | undefined);
  }

  close(): void {
    this.#http.close();
  }

  /**
   * A 404 means "no such application" only on a Eureka server, not on another server or below a wrong path. Asked each time: a
   * proxy in front of Eureka may answer 404 at any time. For an unknown address Eureka answers with an empty list.
   */
  async #assertEureka(
    { server, timeoutMs }: Pick<InstancesRequest<Last>, 'server' | 'timeoutMs'>,
    signal: AbortSignal,
  ): Promise<void> {
    const url = urlBelow(server, `/vips/${PROBE_SERVICE}`);
    const response = await this.#http
      .client()
      .send({ method: 'GET', url, headers: this.#headers(), timeoutMs }, signal);
    if (response.status === 200 && emptyList.safeParse(jsonOf(response.text)).success) return;
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${server.host} has no Eureka API at the path of the URL in servers`,
      remedy: 'add the context path of the server to the URL, usually /eureka',
    });
  }

  #headers(): Readonly<Record<string, string>> {
    const accept = { accept: 'application/json' };
    const user = this.#http.credentials(this.#section);
    if (user === undefined) return accept;
    const basic = Buffer.from(`${user.username}:${user.password}`).toString('base64');
    return { ...accept, authorization: `Basic ${basic}` };
  }
}

function parsed(item: Buffer, server: URL): z.output<typeof eurekaInstance> {
  try {
    return eurekaInstance.parse(parseJson(item));
  } catch {
    throw invalidAnswer(server);
  }
}

/** Throws unless the answer has every instance of the application. */
function assertComplete(
  response: HttpResponse | ListResponse,
  name: string,
  server: URL,
  hasUser: boolean,
): asserts response is ListResponse {
  if ('rest' in response) {
    const { data } = applicationRest.safeParse(response.rest);
    if (data?.application.name.toUpperCase() === name) return;
    throw invalidAnswer(server);
  }
  const { status } = response;
  if (status === 401) {
    throw new RegistryError('Unauthorized', 'registry', {
      problem: `Eureka at ${server.host} rejected the ${hasUser ? 'user name or password' : 'request without credentials'} (401)`,
      remedy: hasUser
        ? 'correct the Secrets of eureka.usernameSecretRef and eureka.passwordSecretRef'
        : 'set eureka.usernameSecretRef and eureka.passwordSecretRef',
    });
  }
  if (status === 403) {
    throw new RegistryError('ServerError', 'server', {
      problem: `Eureka at ${server.host} answered HTTP 403, as it does for up to 5 minutes after its start while it waits for its peers`,
      remedy: 'wait, or check that the user may read the registry',
    });
  }
  // A request that Eureka does not accept must not move the other services to another server.
  const isRequest = status >= 400 && status < 500 && status !== 429;
  throw new RegistryError('ServerError', isRequest ? 'service' : 'server', {
    problem: `${server.host} answered HTTP ${status}`,
    remedy: 'check the log of the Eureka server',
  });
}

function invalidAnswer(server: URL): RegistryError {
  return new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} sent an invalid list of instances`,
    remedy: 'check that the URL in servers is that of a Eureka server',
  });
}

/** Eureka lists instances in no particular order. */
function byPlace(a: EurekaInstance, b: EurekaInstance): number {
  return compareText(a.id, b.id) || compareText(a.ip, b.ip) || (a.plainPort ?? 0) - (b.plainPort ?? 0);
}
