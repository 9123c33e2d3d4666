import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RecordedRequest } from '../test/support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../test/support/control-plane/control-plane.ts';
import { eventually } from '../test/support/eventually.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import {
  installCrds,
  installRbac,
  type Operator,
  type OperatorOptions,
  startOperator,
} from '../test/support/operator.ts';
import { createWorkload, writeSecret } from '../test/support/workload.ts';
import { type ApiRequests, apiRequestsIn } from './api-requests.ts';
import type { FloorHandlers, FloorTarget } from './floor-process.ts';
import type { GatewayHandlers } from './gateway-process.ts';
import { cpuSeconds, eachOf } from './measure.ts';
import type { Options } from './options.ts';
import { type Remote, startRemote } from './remote.ts';

export const ENDPOINTS = 10;
/** The default of spec.limits of a GatewayConnection. */
export const CONCURRENCY = 8;
/** The number of slices for the floor. */
const FLOOR_SERVICES = 100;
export const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const CONNECTION = 'bench';
const WRITERS = 16;
/** A busy API server rejects requests, which are retried. */
const TRIES = 10;
const RETRY_MS = 500;
const PROGRESS_MS = 10_000;

/** A Service with its one slice, and the upstream of its endpoints. */
export interface Subject {
  readonly namespace: string;
  readonly service: string;
  /** The id of its upstream. */
  readonly id: string;
  readonly addresses: string[];
}

/** The environment of the operator, for one number of upstreams. */
export interface Scene extends AsyncDisposable {
  readonly subjects: readonly Subject[];
  readonly floorSubjects: readonly Subject[];
  readonly gateway: Remote<GatewayHandlers>;
  readonly floor: Remote<FloorHandlers>;
  readonly floorTarget: FloorTarget;
  readonly apiRequests: ApiRequests;
  /** Starts the built program with its own ServiceAccount. It stops with the scene. */
  operator(options?: OperatorOptions): Promise<Operator>;
  /** A new endpoint address. */
  freshAddress(): string;
  /** Creates a Service with its upstream. */
  add(name: string): Promise<Subject>;
  /** Writes slice `part` of the subject. */
  writeSlice(subject: Subject, endpoints: readonly SliceEndpoint[], part?: number): Promise<Answered>;
  createSlice(subject: Subject, endpoints: readonly SliceEndpoint[], part: number): Promise<Answered>;
  /** Writes the slice of the subject with its addresses. `fresh` is the address that the floor writes. */
  writeAddresses(subject: Subject, fresh?: string): Promise<Answered>;
  /** Waits until `enough` accepts the number of writes. Resolves to all requests since the last call. */
  requestsUntil(enough: (writes: number) => boolean, timeoutMs: number): Promise<readonly RecordedRequest[]>;
  /** Resolves when the operator is idle, at the latest after two minutes. */
  settled(operator: Operator): Promise<void>;
  /** Sends one request to the gateway with the admin key. */
  askGateway(method: 'PUT' | 'DELETE', id: string, body?: object): Promise<void>;
}

/** The time on the monotonic clock when the API server accepted a slice, and the number of tries. */
export interface Answered {
  readonly at: number;
  readonly tries: number;
}

export interface SliceEndpoint {
  readonly address: string;
  readonly terminating?: boolean;
}

export async function createScene(
  size: number,
  { cpuProfiles }: Options,
  report: (line: string) => void,
): Promise<Scene> {
  await using opened = new AsyncDisposableStack();
  const cluster = opened.use(
    await startControlPlane({
      audit: 'ServiceAccounts',
      // The audit log must not slow the measured requests.
      apiserverArgs: ['--audit-log-mode=batch', '--audit-log-batch-max-wait=500ms'],
    }),
  );
  const gateway = opened.use(startRemote<GatewayHandlers>('gateway-process.ts'));
  const floor = opened.use(startRemote<FloorHandlers>('floor-process.ts'));
  const { url, key } = await gateway.ask('address');
  const floorTarget: FloorTarget = {
    server: cluster.server,
    caPem: cluster.caPem,
    token: cluster.adminToken,
    gatewayUrl: url,
    gatewayKey: key,
  };
  await floor.ask('aim', floorTarget);
  const askGateway: Scene['askGateway'] = async (method, id, body) => {
    const { ok, status } = await fetch(`${url}/apisix/admin/upstreams/${id}`, {
      method,
      headers: { 'x-api-key': key },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!ok) throw new Error(`the gateway answered ${method} ${id} with ${status}`);
  };
  await installCrds(cluster);
  const home = await cluster.newNamespace('bench-operator', { awaitServiceAccount: true });
  const token = await installRbac(cluster, home);
  await writeSecret(cluster, home, 'gateway', { 'admin-key': key });
  await createWorkload(cluster, home).connection(CONNECTION, { adminUrl: url, secret: 'gateway' });
  const apiRequests = apiRequestsIn(cluster.auditLog ?? '');
  const slices = createSliceWriter(cluster);
  // With the profiler, the process is never idle.
  const quietCpuSeconds = cpuProfiles === undefined ? 0.02 : 0.15;
  if (cpuProfiles !== undefined) await mkdir(cpuProfiles, { recursive: true });

  let addresses = 0;
  const freshAddress = () => {
    addresses += 1;
    return `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`;
  };

  const make = async (namespace: string, service: string, withUpstream: boolean): Promise<Subject> => {
    const workload = createWorkload(cluster, namespace);
    const subject: Subject = {
      namespace,
      service,
      id: withUpstream ? `${namespace}.${service}` : service,
      addresses: Array.from({ length: ENDPOINTS }, freshAddress),
    };
    if (withUpstream) await workload.service(service);
    await slices.create(
      subject,
      subject.addresses.map((address) => ({ address })),
    );
    if (withUpstream) {
      await workload.upstream(service, {
        connectionRef: { name: CONNECTION },
        backends: [{ serviceRef: { name: service, port: 80 } }],
        // The load removes addresses faster than any rollout, without terminating them first.
        removalGuard: { maxRemovalPercent: 100 },
      });
    }
    return subject;
  };

  const namespaces: string[] = [];
  for (let index = 0; index < Math.min(20, Math.ceil(size / 50)); index += 1) {
    namespaces.push(await cluster.newNamespace(`bench-${String(index).padStart(2, '0')}`));
  }
  const subjects: Subject[] = [];
  if (process.env['APISIX_ADMIN_URL'] !== undefined) {
    // Remove the created upstreams from a real gateway.
    opened.defer(async () => {
      const answer = await fetch(`${url}/apisix/admin/upstreams`, { headers: { 'x-api-key': key } });
      const { list } = (await answer.json()) as {
        readonly list: readonly { readonly value: { readonly id: string } }[];
      };
      const ids = list
        .map(({ value }) => value.id)
        .filter((id) => /^(bench-[0-9]{2}-[0-9a-f]{8}\.|floor-)/.test(id));
      await eachOf(ids, CONCURRENCY, (id) => askGateway('DELETE', id));
    });
  }
  await eachOf([...Array(size).keys()], WRITERS, async (index) => {
    const namespace = namespaces[index % namespaces.length] ?? home;
    subjects[index] = await make(namespace, `service-${String(index).padStart(5, '0')}`, true);
    if (index > 0 && index % 1000 === 0) report(`${index} of ${size} Services made`);
  });
  const floorSubjects: Subject[] = [];
  await eachOf([...Array(FLOOR_SERVICES).keys()], WRITERS, async (index) => {
    floorSubjects[index] = await make(home, `floor-${index}`, false);
  });

  const operators = opened.use(new AsyncDisposableStack());
  const stack = opened.move();
  return {
    subjects,
    floorSubjects,
    gateway,
    floor,
    floorTarget,
    apiRequests,
    freshAddress,
    async operator(options = {}) {
      const profile = cpuProfiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProfiles}`];
      const operator = await startOperator(cluster, home, token, {
        logLevel: 'info',
        program: { main: MAIN, nodeArgs: profile },
        ...options,
      });
      operators.use(operator);
      return operator;
    },
    add: (name) => make(namespaces[0] ?? home, name, true),
    writeSlice: slices.write,
    createSlice: slices.create,
    writeAddresses: (subject, fresh) =>
      slices.write(
        subject,
        subject.addresses.map((address) => ({ address })),
        1,
        fresh,
      ),
    async requestsUntil(enough, timeoutMs) {
      const deadline = performance.now() + timeoutMs;
      let [writes, told] = [0, performance.now()];
      while (performance.now() < deadline) {
        writes = await gateway.ask('writes');
        if (enough(writes)) break;
        if (performance.now() - told > PROGRESS_MS) {
          told = performance.now();
          report(`${writes} writes so far`);
        }
        await sleep(100);
      }
      return await gateway.ask('take');
    },
    settled: (operator) => settled(operator, quietCpuSeconds),
    askGateway,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Writes slices over its own connections, and returns the time of the response header. */
function createSliceWriter({ server, caPem, adminToken }: ControlPlane) {
  const agent = new Agent({ keepAlive: true, ca: caPem });

  const send = async (
    method: 'POST' | 'PUT',
    { namespace, service }: Subject,
    endpoints: readonly SliceEndpoint[],
    part: number,
    fresh: string | undefined,
  ): Promise<Answered> => {
    const name = `${service}-${part}`;
    const body = JSON.stringify({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name,
        labels: { 'kubernetes.io/service-name': service },
        ...(fresh === undefined ? {} : { annotations: { 'bench/fresh': fresh } }),
      },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: endpoints.map(({ address, terminating = false }) => ({
        addresses: [address],
        conditions: { ready: !terminating, serving: !terminating, terminating },
      })),
    });
    const collection = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
    const path = method === 'POST' ? collection : `${collection}/${name}`;
    const headers = {
      authorization: `Bearer ${adminToken}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    for (let tries = 1; ; tries += 1) {
      const request = httpsRequest(new URL(path, server), { method, agent, headers }).end(body);
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      const at = monotonicMs();
      answer.resume();
      const { statusCode: status = 0 } = answer;
      // A failed try may have succeeded on the server: 409 means that it created the slice.
      if (status < 300 || (status === 409 && tries > 1)) return { at, tries };
      if ((status < 500 && status !== 429) || tries === TRIES)
        throw new Error(`${method} ${path}: ${status}`);
      await sleep(RETRY_MS);
    }
  };

  return {
    create: (subject: Subject, endpoints: readonly SliceEndpoint[], part = 1) =>
      send('POST', subject, endpoints, part, undefined),
    write: (subject: Subject, endpoints: readonly SliceEndpoint[], part = 1, fresh?: string) =>
      send('PUT', subject, endpoints, part, fresh),
  };
}

/** Resolves when the operator uses at most `quietCpuSeconds` in half a second, at the latest after two minutes. */
export async function settled(operator: Operator, quietCpuSeconds: number): Promise<void> {
  const { pid = 0 } = operator.process;
  const deadline = performance.now() + 120_000;
  for (let quiet = 0; quiet < 3 && performance.now() < deadline; ) {
    assertRuns(operator);
    const before = cpuSeconds(pid);
    await sleep(500);
    quiet = cpuSeconds(pid) - before <= quietCpuSeconds ? quiet + 1 : 0;
  }
}

/** Resolves when the operator is the leader and has listed all kinds. */
export async function working(operator: Operator): Promise<void> {
  await eventually(
    () => {
      assertRuns(operator);
      if (!operator.output().includes('caches synced')) throw new Error('the caches are not synced yet');
    },
    { timeoutMs: 120_000 },
  );
}

/** Throws with the last output if the operator has exited. */
export function assertRuns({ process: { exitCode, signalCode }, output }: Operator): void {
  if (exitCode === null && signalCode === null) return;
  throw new Error(`the operator exited (${exitCode ?? signalCode}):\n${output().slice(-4000)}`);
}
