import { CONNECTION_FINALIZER, OPERATOR, UPSTREAM_FINALIZER } from '../../api/group.ts';
import { listAll } from '../../kube/list-all.ts';
import { type CustomKind, createObjectWriter } from '../../kube/object-writer.ts';
import { resourcePath } from '../../kube/transport.ts';
import { tokenSecret } from '../install/access.ts';
import { getObject, nameOf, pathOf, remove } from '../install/applier.ts';
import type { InstallDeps } from '../install/install.ts';
import { InstallError } from '../install/install-error.ts';
import { type Manifest, manifestsOf } from '../install/manifests.ts';
import { isOwn, OWN_LABEL, otherInstallation } from '../install/other-installation.ts';
import { takeLease } from './lease.ts';
import { markUninstalled } from './mark-uninstalled.ts';
import { count, namesOf, type Scope, scopeOf } from './scope.ts';
import { type FinalizerPolicy, settleUpstreams } from './settle-upstreams.ts';

export interface UninstallOptions {
  readonly namespace: string;
  /** The watched namespaces. GatewayUpstreams in other namespaces belong to another operator. Empty: all. */
  readonly namespaces: readonly string[];
  /** How to handle existing GatewayUpstreams. */
  readonly finalizers: FinalizerPolicy;
  readonly keepCrds: boolean;
  readonly keepRbac: boolean;
  /** Name of the operator's Lease in `namespace`. */
  readonly leaseName: string;
  /** Keeps the Lease, so that a running operator cannot become leader until it expires. */
  readonly keepLease: boolean;
  /** How long to wait for the operator. */
  readonly timeoutMs: number;
}

export type UninstallDeps = Omit<InstallDeps, 'kubeConfig'>;

const POLL_MS = 250;
/** A running operator may add a finalizer again between two passes, until it loses its permissions. */
const MAX_PASSES = 5;

/**
 * Removes what `install` applied. Handles existing GatewayUpstreams according to `options.finalizers`.
 * Rejects with `KubeApiError` or `InstallError`.
 */
export async function uninstall(
  deps: UninstallDeps,
  options: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  if (!options.keepRbac) await expectOwnInstallation(deps, options.namespace, signal);
  await settleUpstreams(
    deps,
    await scopeOf(deps.catalog.transforms, deps.transport, options.namespaces, signal),
    options,
    signal,
  );
  await using lease = await takeLease(deps, options, signal);
  // If the Lease could not be taken, an operator may still write. Without role bindings, it cannot add finalizers again.
  if (!options.keepRbac) await removeRbac(deps, options.namespace, signal);
  await releaseFinalizers(deps, options, signal);
  await removeOrKeepCrds(deps, options, signal);
  if (!options.keepLease) await lease?.delete(signal);
  if (!options.keepRbac) {
    deps.print(
      `The operator is uninstalled. Next: stop it if it is still running. Namespace ${options.namespace} and its Secrets are kept. To delete them, run kubectl delete namespace ${options.namespace}.`,
    );
  }
}

/** Throws if the operator is installed in another namespace, so that it does not lose permissions and CRDs by mistake. */
async function expectOwnInstallation(
  { transport }: UninstallDeps,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const other = await otherInstallation(transport, namespace, signal);
  if (other === undefined) return;
  throw new InstallError(
    `the operator is installed in namespace ${other}: set --namespace ${other}; nothing was changed`,
    3,
  );
}

/** Removes our finalizers from all objects, so that no deletion waits for an operator that no longer runs. */
async function releaseFinalizers(
  deps: UninstallDeps,
  options: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const writer = createObjectWriter(deps.transport);
  const kinds = [
    { kind: 'GatewayUpstream', finalizer: UPSTREAM_FINALIZER, of: ({ upstreams }: Scope) => upstreams },
    {
      kind: 'GatewayConnection',
      finalizer: CONNECTION_FINALIZER,
      of: ({ connections }: Scope) => connections,
    },
  ] as const satisfies readonly { readonly kind: CustomKind; readonly [field: string]: unknown }[];
  for (const { kind, finalizer, of } of kinds) {
    for (let pass = 0; pass < MAX_PASSES; pass += 1) {
      const holding = of(
        await scopeOf(deps.catalog.transforms, deps.transport, options.namespaces, signal),
      ).filter(({ finalizers }) => finalizers.includes(finalizer));
      if (holding.length === 0) break;
      for (const object of holding) await writer.removeFinalizer(kind, object, finalizer, signal);
      deps.print(`Finalizer ${finalizer} removed from ${count(holding.length, kind)}: ${namesOf(holding)}`);
      if (pass + 1 < MAX_PASSES) await deps.clock.sleep(POLL_MS, signal);
    }
  }
}

async function removeRbac(deps: UninstallDeps, namespace: string, signal: AbortSignal): Promise<void> {
  const { transport } = deps;
  const inOneNamespace: Manifest[] = [];
  for (const kind of ['RoleBinding', 'Role']) {
    const path = resourcePath({
      group: 'rbac.authorization.k8s.io',
      version: 'v1',
      plural: `${kind.toLowerCase()}s`,
    });
    const query = { labelSelector: `${OWN_LABEL}=${OPERATOR}` };
    const found = (await listAll(transport, path, query, signal)) ?? [];
    for (const { metadata } of found as readonly Manifest[]) {
      inOneNamespace.push({ apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata });
    }
  }
  const others = manifestsOf(deps.catalog, {
    namespace,
    namespaces: [],
    secretNamespaces: [],
    crdsOnly: false,
  }).filter(({ kind }) => ['ClusterRoleBinding', 'ClusterRole', 'ServiceAccount'].includes(kind));
  const order = ['ClusterRoleBinding', 'RoleBinding', 'ClusterRole', 'Role', 'Secret', 'ServiceAccount'];
  const all = [...others, ...inOneNamespace, tokenSecret(namespace)].toSorted(
    (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind),
  );
  for (const object of all) await removeOwn(deps, object, signal);
}

/** Deletes `object` if `install` created it. */
async function removeOwn(
  { transport, print }: UninstallDeps,
  object: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(object);
  const found = await getObject(transport, path, signal);
  if (found === undefined) return;
  if (!isOwn(found)) {
    const manager = found.metadata.labels?.[OWN_LABEL];
    print(
      `${nameOf(object)} kept: ${manager === undefined ? 'it was not created by install' : `it is managed by ${manager}`}`,
    );
    return;
  }
  if (await remove(transport, path, signal)) print(`${nameOf(object)} deleted`);
}

/** Removes the CRDs, or reports in the status of every remaining object that no operator maintains it. */
async function removeOrKeepCrds(
  deps: UninstallDeps,
  options: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { upstreams, connections, sets, registries, others } = await scopeOf(
    deps.catalog.transforms,
    deps.transport,
    options.namespaces,
    signal,
  );
  if (!options.keepCrds && others.length === 0) return await removeCrds(deps, options, signal);
  // Both operators use the cluster-scoped objects.
  await markUninstalled(
    deps,
    others.length === 0
      ? { upstreams, connections, sets, registries }
      : { upstreams, connections: [], sets: [], registries: [] },
    signal,
  );
  deps.print(
    others.length === 0
      ? 'The CRDs and all GatewayConnections, GatewayUpstreams, GatewayUpstreamSets and ServiceRegistries are kept, without finalizers.'
      : `The CRDs are kept, because another operator maintains ${count(others.length, 'GatewayUpstream')} (${namesOf(others)}).`,
  );
}

async function removeCrds(
  { catalog, transport, clock, print }: UninstallDeps,
  { timeoutMs }: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const crds = manifestsOf(catalog, { namespace: '', namespaces: [], secretNamespaces: [], crdsOnly: true });
  const deleted: Manifest[] = [];
  for (const crd of crds) if (await remove(transport, pathOf(crd), signal)) deleted.push(crd);
  const deadline = clock.monotonic() + timeoutMs;
  for (const crd of deleted) {
    while ((await getObject(transport, pathOf(crd), signal)) !== undefined) {
      if (clock.monotonic() >= deadline) {
        throw new InstallError(
          `${nameOf(crd)} was not deleted within ${timeoutMs / 1000} s: remove the finalizers of other programs from its objects`,
        );
      }
      await clock.sleep(POLL_MS, signal);
    }
    print(`${nameOf(crd)} deleted`);
  }
}
