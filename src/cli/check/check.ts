import { randomUUID } from 'node:crypto';
import { GATEWAY_CONNECTION } from '../../api/crd.ts';
import type { GatewayConnectionSpec } from '../../api/gateway-connection.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import { endpointUrls, noDataPlanes, unwatchedProblem } from '../../decide/data-planes.ts';
import { dataPlanesOf, type FoundDataPlanes, resolveConnection } from '../../gateways/connect.ts';
import type { DataPlaneReader, GatewayDriver } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import { listAll } from '../../kube/list-all.ts';
import {
  describeMissing,
  describePermission,
  type Permission,
  reviewPermissions,
} from '../../kube/permissions.ts';
import { resourcePath } from '../../kube/transport.ts';
import { type Complaint, GatewayAuthError, OperatorError } from '../../model/errors.ts';
import type { GatewayConnection, SecretFacts } from '../../model/objects.ts';
import { resolveService } from '../../sources/kubernetes/resolve.ts';
import { SERVICE_LABEL, transformService, transformSlice } from '../../sources/kubernetes/transform.ts';
import { type CheckCrdsDeps, checkCrds } from './check-crds.ts';
import { type CheckRegistriesDeps, checkRegistries } from './check-registries.ts';
import { type CheckUpstreamsDeps, checkLeaderAndUpstreams } from './check-upstreams.ts';
import { type Finding, failed, fine, kubeError, SOLVE_FIRST } from './finding.ts';
import { ownSecrets } from './own-secrets.ts';

export interface CheckDeps extends CheckUpstreamsDeps, CheckRegistriesDeps, CheckCrdsDeps {
  /** URL of the API server, for messages. */
  readonly server: string;
  readonly permissions: readonly Permission[];
  readonly requestTimeoutMs: number;
}

const TRY_AGAIN = 'run check again; if it still fails, check the log of the API server';
const GATEWAY_LOG = 'check the log of the gateway';

/**
 * Checks everything that the operator depends on, with the permissions of the operator. Changes nothing: to test the key of
 * a gateway, it sends a DELETE request for an upstream with a random id that does not exist.
 */
export async function check(deps: CheckDeps, signal: AbortSignal): Promise<readonly Finding[]> {
  const server = await checkServer(deps, signal);
  // Without a connection or valid credentials, all other checks would fail for the same reason.
  if (!server.every(({ ok }) => ok)) return server;
  return [
    ...server,
    ...(await checkPermissions(deps, signal)),
    ...(await checkCrds(deps, signal)),
    ...(await checkConnections(deps, signal)),
    ...(await checkRegistries(deps, signal)),
    ...(await checkLeaderAndUpstreams(deps, signal)),
  ];
}

async function checkServer(
  { transport, server }: CheckDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let reached: Finding;
  try {
    const { gitVersion } = (await transport.get('/version', { signal })) as { readonly gitVersion?: string };
    reached = fine('API server', `reachable, Kubernetes ${gitVersion ?? '(unknown version)'} at ${server}`);
  } catch (error) {
    const { status, message } = kubeError(error);
    if (status === undefined) {
      return [
        failed(
          'API server',
          message,
          'correct the server in the kubeconfig, or fix the network connection to it',
        ),
      ];
    }
    // Any HTTP response means that it is reachable. The next check tests the credentials.
    reached = fine('API server', `reachable at ${server}`);
  }
  try {
    const review = (await transport.send({
      method: 'POST',
      path: resourcePath({ group: 'authentication.k8s.io', version: 'v1', plural: 'selfsubjectreviews' }),
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      signal,
    })) as { readonly status?: { readonly userInfo?: { readonly username?: string } } };
    return [
      reached,
      fine('credentials', `accepted, user ${review.status?.userInfo?.username ?? '(unknown)'}`),
    ];
  } catch (error) {
    const { status, message } = kubeError(error);
    if (status === 401) {
      return [
        reached,
        failed(
          'credentials',
          'the API server rejected them (401): the token is wrong or expired, or its ServiceAccount was deleted',
          'create a new token with gateway-upstream-operator install --out-of-cluster',
        ),
      ];
    }
    // 403: the user may not create reviews. 404: Kubernetes is older than 1.28. The credentials are valid in both cases.
    if (status === 403 || status === 404) return [reached, fine('credentials', 'accepted')];
    return [reached, failed('credentials', message, TRY_AGAIN)];
  }
}

async function checkPermissions(
  { transport, permissions }: CheckDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const answers = await reviewPermissions(transport, permissions, signal);
  return permissions.map((permission, index): Finding => {
    const where = permission.namespace === undefined ? '' : ` in ${permission.namespace}`;
    const name = `permission to ${describePermission(permission)}${where}`;
    const answer = answers[index];
    if (answer?.status === 'rejected') {
      return failed(
        name,
        `the API server could not review it: ${kubeError(answer.reason).message}`,
        TRY_AGAIN,
      );
    }
    switch (answer?.value) {
      case 'granted':
        return fine(name, 'granted');
      case 'notNeeded':
        return fine(name, 'not granted and not needed, because the API server does not serve this resource');
      case 'missing': {
        const remedy = 'run gateway-upstream-operator install or helm upgrade to restore it';
        return failed(name, describeMissing([permission]), remedy);
      }
      default:
        return failed(name, 'the authorizer of the API server failed', 'check the log of the API server');
    }
  });
}

async function checkConnections(deps: CheckDeps, signal: AbortSignal): Promise<readonly Finding[]> {
  const { transport, catalog } = deps;
  let connections: readonly GatewayConnection[];
  let secrets: ReadonlyMap<string, SecretFacts>;
  try {
    const path = resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_CONNECTION.plural });
    connections = ((await listAll(transport, path, {}, signal)) ?? []).flatMap(
      (raw) => catalog.transforms.gatewayConnection(raw) ?? [],
    );
    secrets = await ownSecrets(deps, signal);
  } catch (error) {
    return [failed('gateways', kubeError(error).message, SOLVE_FIRST)];
  }
  if (connections.length === 0) return [fine('gateways', 'no GatewayConnection exists yet')];
  const findings = await Promise.all(
    connections.map((connection) => checkConnection(deps, connection, secrets, signal)),
  );
  return findings.flat();
}

async function checkConnection(
  options: CheckDeps,
  connection: GatewayConnection,
  secrets: ReadonlyMap<string, SecretFacts>,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const name = `GatewayConnection ${connection.name}`;
  const resolved = resolveConnection(
    options.catalog.vendor,
    connection,
    (secret) => secrets.get(secret),
    options,
  );
  if (resolved.kind === 'unusable') {
    return [
      failed(
        `${name}, settings`,
        resolved.problem,
        resolved.remedy ?? 'correct the spec of the GatewayConnection',
      ),
    ];
  }
  let driver: GatewayDriver;
  try {
    driver = resolved.createDriver();
  } catch (error) {
    const message = error instanceof Error ? error.message : 'the settings cannot be used';
    return [failed(`${name}, settings`, message, 'correct the spec of the GatewayConnection or the Secret')];
  }
  try {
    return [
      fine(`${name}, settings`, 'valid, and the Secrets exist'),
      ...(await checkGateway(name, resolved.vendor, driver, signal)),
      ...(await checkDataPlanes(options, name, { spec: resolved.spec, reader: driver.dataPlanes }, signal)),
    ];
  } finally {
    driver.close();
  }
}

async function checkGateway(
  name: string,
  { limits: { oldestMajorVersion } }: Vendor,
  driver: GatewayDriver,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let version: string | undefined;
  try {
    ({ version } = await driver.check(signal));
  } catch (error) {
    if (error instanceof GatewayAuthError) {
      return [fine(`${name}, gateway`, 'reachable'), rejectedKey(name, error)];
    }
    return [gatewayFailed(name, error)];
  }
  const gateway =
    version !== undefined && Number.parseInt(version, 10) < oldestMajorVersion
      ? failed(
          `${name}, gateway`,
          `${driver.type} ${version} is not supported`,
          `upgrade to ${driver.type} ${oldestMajorVersion}.0 or newer`,
        )
      : fine(`${name}, gateway`, `reachable, ${driver.type} ${version ?? '(unknown version)'}`);
  try {
    // APISIX rejects a read-only key because of the method, before it looks up the id (PUT: measured with 3.18, DELETE: by
    // source). With a key that may write it answers 404 (measured), which the driver treats as a successful deletion.
    await driver.delete(`gwu-check-${randomUUID()}`, { references: 'ignore' }, signal);
  } catch (error) {
    if (error instanceof GatewayAuthError) return [gateway, rejectedKey(name, error)];
    return [gateway, gatewayFailed(name, error)];
  }
  return [gateway, fine(`${name}, key`, 'read and write access')];
}

/** Checks the Control API of each data plane, if the connection configures one. */
async function checkDataPlanes(
  deps: CheckDeps,
  name: string,
  { spec, reader }: { readonly spec: GatewayConnectionSpec; readonly reader: DataPlaneReader | undefined },
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const controlApi = dataPlanesOf(deps.catalog.vendor, spec);
  if (controlApi === undefined || reader === undefined) return [];
  let urls: readonly string[];
  if (controlApi.kind === 'urls') urls = controlApi.urls;
  else {
    const found = await serviceUrls(deps, controlApi, signal);
    if (!found.ok) return [failed(`${name}, data planes`, found.problem, found.remedy)];
    ({ urls } = found);
  }
  return await Promise.all(
    urls.map(async (url): Promise<Finding> => {
      try {
        await reader.list(url, signal);
        return fine(`${name}, data plane ${url}`, 'Control API reachable');
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error;
        return failed(
          `${name}, data plane ${url}`,
          error.problem,
          error.remedy ?? 'check the log of the data plane',
        );
      }
    }),
  );
}

async function serviceUrls(
  { transport, namespaces }: CheckDeps,
  { ref, field }: Extract<FoundDataPlanes, { kind: 'service' }>,
  signal: AbortSignal,
): Promise<{ readonly ok: true; readonly urls: readonly string[] } | ({ readonly ok: false } & Complaint)> {
  const problem = unwatchedProblem(namespaces, ref.namespace, field);
  if (problem !== undefined) return { ok: false, problem };
  const { namespace, name } = ref;
  const services = resourcePath({ group: '', version: 'v1', plural: 'services', namespace });
  const slices = resourcePath({
    group: 'discovery.k8s.io',
    version: 'v1',
    plural: 'endpointslices',
    namespace,
  });
  try {
    const [service = [], endpoints = []] = await Promise.all([
      listAll(transport, services, { fieldSelector: `metadata.name=${name}` }, signal),
      listAll(transport, slices, { labelSelector: `${SERVICE_LABEL}=${name}` }, signal),
    ]);
    const found = resolveService(
      ref,
      transformService(service[0]),
      endpoints.flatMap((raw) => transformSlice(raw) ?? []),
    );
    if (found.state === 'external') return { ok: false, problem: noDataPlanes(ref, field) };
    if (found.state !== 'known') return { ok: false, problem: found.message };
    const urls = endpointUrls(found);
    return urls.length > 0 ? { ok: true, urls } : { ok: false, problem: noDataPlanes(ref, field) };
  } catch (error) {
    return { ok: false, problem: kubeError(error).message, remedy: SOLVE_FIRST };
  }
}

function rejectedKey(name: string, { problem, remedy }: GatewayAuthError): Finding {
  return failed(`${name}, key`, problem, remedy ?? GATEWAY_LOG);
}

function gatewayFailed(name: string, error: unknown): Finding {
  if (!(error instanceof OperatorError)) throw error;
  return failed(`${name}, gateway`, error.problem, error.remedy ?? GATEWAY_LOG);
}
