import { randomUUID } from 'node:crypto';
import { type CustomResource, customResourceDefinition, GATEWAY_CONNECTION } from '../../api/crd.ts';
import type { GatewayConnectionSpec } from '../../api/gateway-connection.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import { endpointUrls, noDataPlanes, unfollowedProblem } from '../../decide/data-planes.ts';
import { dataPlanesOf, type FoundDataPlanes, resolveConnection } from '../../gateways/connect.ts';
import type { DataPlaneReader, GatewayDriver } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import { listAll } from '../../kube/list-all.ts';
import { NO_HELM_RELEASES, transformSecret } from '../../kube/objects.ts';
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
import { type CheckUpstreamsDeps, checkLeaderAndUpstreams } from './check-upstreams.ts';
import { type SchemaAge, schemaAge } from './crd-age.ts';
import { type Finding, failed, fine, kubeError, SOLVE_FIRST } from './finding.ts';

export interface CheckDeps extends CheckUpstreamsDeps {
  /** For the message: where the API server is. */
  readonly server: string;
  readonly permissions: readonly Permission[];
  readonly requestTimeoutMs: number;
}

const CRDS_REMEDY = 'run gateway-upstream-operator install --crds-only';
const TRY_AGAIN = 'run check again, and if it fails again, look at the log of the API server';
const GATEWAY_LOG = 'look at the log of the gateway';

/**
 * Looks at everything that the operator depends on, with the rights that it has. Changes nothing: it deletes, in each
 * gateway, an upstream under a random id that nothing can have.
 */
export async function check(deps: CheckDeps, signal: AbortSignal): Promise<readonly Finding[]> {
  const server = await checkServer(deps, signal);
  // Without an answer, or with credentials that are refused, everything else would fail for that reason alone.
  if (!server.every(({ ok }) => ok)) return server;
  return [
    ...server,
    ...(await checkPermissions(deps, signal)),
    ...(await checkCrds(deps, signal)),
    ...(await checkConnections(deps, signal)),
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
    reached = fine('API server', `Kubernetes ${gitVersion ?? 'of unknown version'} at ${server}`);
  } catch (error) {
    const { status, message } = kubeError(error);
    if (status === undefined) {
      return [
        failed('API server', message, 'correct the server in the kubeconfig, or the network in between'),
      ];
    }
    // It answers: whether it takes the credentials is the next question.
    reached = fine('API server', `${server} answers`);
  }
  try {
    const review = (await transport.send({
      method: 'POST',
      path: resourcePath({ group: 'authentication.k8s.io', version: 'v1', plural: 'selfsubjectreviews' }),
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      signal,
    })) as { readonly status?: { readonly userInfo?: { readonly username?: string } } };
    return [reached, fine('credentials', `taken, as ${review.status?.userInfo?.username ?? 'somebody'}`)];
  } catch (error) {
    const { status, message } = kubeError(error);
    if (status === 401) {
      return [
        reached,
        failed(
          'credentials',
          'the API server refused them (401): the token is wrong, expired, or of a ServiceAccount that is gone',
          'make a new token with gateway-upstream-operator install --out-of-cluster',
        ),
      ];
    }
    // 403 and 404: somebody took the right to ask, or the API server is older than 1.28. It takes the credentials.
    if (status === 403 || status === 404) return [reached, fine('credentials', 'taken')];
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
      return failed(name, `the API server did not say: ${kubeError(answer.reason).message}`, TRY_AGAIN);
    }
    switch (answer?.value) {
      case 'granted':
        return fine(name, 'granted');
      case 'notNeeded':
        return fine(name, 'not granted, and not needed: the API server does not serve the kind');
      case 'missing': {
        const remedy = 'run gateway-upstream-operator install or helm upgrade, which put it back';
        return failed(name, describeMissing([permission]), remedy);
      }
      default:
        return failed(name, 'the authorizer of the API server failed', 'look at the log of the API server');
    }
  });
}

interface OpenApi {
  readonly components?: {
    readonly schemas?: Readonly<
      Record<
        string,
        {
          readonly properties?: Readonly<Record<string, unknown>>;
          readonly 'x-kubernetes-group-version-kind'?: readonly { readonly kind?: string }[];
        }
      >
    >;
  };
}

/**
 * Compares what the API server publishes of our kinds, which whoever has a token may read, other than the CRDs
 * themselves.
 */
async function checkCrds(
  { transport, catalog }: CheckDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let published: OpenApi = {};
  try {
    published = (await transport.get(`/openapi/v3/apis/${GROUP}/${VERSION}`, { signal })) as OpenApi;
  } catch (error) {
    const { status, message } = kubeError(error);
    if (status !== 404) {
      const remedy = 'bind ClusterRole system:discovery to this user, or run check again';
      return [failed('CRDs', message, remedy)];
    }
  }
  const schemas = Object.values(published.components?.schemas ?? {});
  return catalog.customResources.map((resource): Finding => {
    const name = `CRD ${resource.plural}.${GROUP}`;
    const served = schemas.find((schema) =>
      schema['x-kubernetes-group-version-kind']?.some(({ kind }) => kind === resource.kind),
    );
    if (served === undefined) return failed(name, 'it is missing', CRDS_REMEDY);
    const { spec, status } = ownSchema(resource);
    return crdFinding(name, [
      schemaAge('spec', served.properties?.['spec'], spec),
      schemaAge('status', served.properties?.['status'], status),
    ]);
  });
}

function ownSchema(resource: CustomResource): {
  readonly spec?: unknown;
  readonly status?: unknown;
} {
  const { spec } = customResourceDefinition(resource) as {
    readonly spec: {
      readonly versions: readonly {
        readonly schema: { readonly openAPIV3Schema: { readonly properties: object } };
      }[];
    };
  };
  // What goes over the wire has no undefined.
  return JSON.parse(JSON.stringify(spec.versions[0]?.schema.openAPIV3Schema.properties ?? {})) as object;
}

function crdFinding(name: string, ages: readonly SchemaAge[]): Finding {
  const differing = ages.filter((age) => age.kind !== 'same');
  const [first] = differing;
  if (first === undefined) return fine(name, 'as this program has it');
  const fields = differing.flatMap((age) => age.fields);
  const shown = `${fields.slice(0, 5).join(', ')}${fields.length > 5 ? ' and more' : ''}`;
  const kind = differing.every((age) => age.kind === first.kind) ? first.kind : 'different';
  switch (kind) {
    case 'older':
      return failed(name, `older than this program: it lacks ${shown}`, CRDS_REMEDY);
    case 'newer':
      return failed(
        name,
        `newer than this program, which does not know ${shown}`,
        'run the release of the program that installed the CRD',
      );
    case 'different':
      return failed(name, `not what this program has: ${shown} differ`, CRDS_REMEDY);
    default:
      return kind satisfies never;
  }
}

async function checkConnections(deps: CheckDeps, signal: AbortSignal): Promise<readonly Finding[]> {
  const { transport, catalog, operatorNamespace: namespace } = deps;
  let connections: readonly GatewayConnection[];
  let secrets: readonly SecretFacts[];
  try {
    const path = resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_CONNECTION.plural });
    connections = ((await listAll(transport, path, {}, signal)) ?? []).flatMap(
      (raw) => catalog.transforms.gatewayConnection(raw) ?? [],
    );
    const secretsPath = resourcePath({ group: '', version: 'v1', plural: 'secrets', namespace });
    secrets = ((await listAll(transport, secretsPath, NO_HELM_RELEASES, signal)) ?? []).flatMap(
      (raw) => transformSecret(raw) ?? [],
    );
  } catch (error) {
    return [failed('gateways', kubeError(error).message, SOLVE_FIRST)];
  }
  if (connections.length === 0) return [fine('gateways', 'there is no GatewayConnection yet')];
  const named = new Map(secrets.map((secret) => [secret.name, secret]));
  const findings = await Promise.all(
    connections.map((connection) => checkConnection(deps, connection, named, signal)),
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
    return [failed(`${name}, settings`, resolved.problem, resolved.remedy ?? 'correct its spec')];
  }
  let driver: GatewayDriver;
  try {
    driver = resolved.createDriver();
  } catch (error) {
    const message = error instanceof Error ? error.message : 'they cannot be used';
    return [failed(`${name}, settings`, message, 'correct its spec or the Secret')];
  }
  try {
    return [
      fine(`${name}, settings`, 'Secrets are there'),
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
      return [fine(`${name}, gateway`, 'it answers'), refusedKey(name, error)];
    }
    return [gatewayFailed(name, error)];
  }
  const gateway =
    version !== undefined && Number.parseInt(version, 10) < oldestMajorVersion
      ? failed(
          `${name}, gateway`,
          `${driver.type} ${version} is too old`,
          `use ${driver.type} ${oldestMajorVersion}.0 or newer`,
        )
      : fine(`${name}, gateway`, `${driver.type} ${version ?? 'that does not say its version'} answers`);
  try {
    // A key that may only read: APISIX refuses it by method before it looks for the id; of PUT measured (3.18), of DELETE by
    // source. A key that may write: 404, measured, which the driver takes for a deletion that succeeded.
    await driver.delete(`gwu-check-${randomUUID()}`, { references: 'ignore' }, signal);
  } catch (error) {
    if (error instanceof GatewayAuthError) return [gateway, refusedKey(name, error)];
    return [gateway, gatewayFailed(name, error)];
  }
  return [gateway, fine(`${name}, key`, 'it may read and write')];
}

/** Whether each data plane can be asked what it serves, where the connection says that they should be. */
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
        return fine(`${name}, data plane ${url}`, 'its Control API answers');
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error;
        return failed(`${name}, data plane ${url}`, error.problem, error.remedy ?? 'look at its log');
      }
    }),
  );
}

async function serviceUrls(
  { transport, namespaces }: CheckDeps,
  { ref, field }: Extract<FoundDataPlanes, { kind: 'service' }>,
  signal: AbortSignal,
): Promise<{ readonly ok: true; readonly urls: readonly string[] } | ({ readonly ok: false } & Complaint)> {
  const problem = unfollowedProblem(namespaces, ref.namespace, field);
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

function refusedKey(name: string, { problem, remedy }: GatewayAuthError): Finding {
  return failed(`${name}, key`, problem, remedy ?? GATEWAY_LOG);
}

function gatewayFailed(name: string, error: unknown): Finding {
  if (!(error instanceof OperatorError)) throw error;
  return failed(`${name}, gateway`, error.problem, error.remedy ?? GATEWAY_LOG);
}
