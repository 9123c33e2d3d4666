import { CONNECTION_FINALIZER, OPERATOR, UPSTREAM_FINALIZER } from '../../api/group.ts';
import { listAll } from '../../kube/list-all.ts';
import { type CustomKind, createObjectWriter } from '../../kube/object-writer.ts';
import { resourcePath } from '../../kube/transport.ts';
import { tokenSecret } from '../install/access.ts';
import { held, nameOf, pathOf, remove } from '../install/applier.ts';
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
  /** The only namespaces that the operator follows: GatewayUpstreams elsewhere are another operator's. Empty: all. */
  readonly namespaces: readonly string[];
  /** What becomes of living GatewayUpstreams. */
  readonly finalizers: FinalizerPolicy;
  readonly keepCrds: boolean;
  readonly keepRbac: boolean;
  /** Of the Lease of the operator, in `namespace`. */
  readonly leaseName: string;
  /** Leaves the Lease, so that no operator that still runs leads for half a minute. */
  readonly keepLease: boolean;
  /** How long to wait for the operator. */
  readonly timeoutMs: number;
}

export type UninstallDeps = Omit<InstallDeps, 'kubeConfig'>;

const LOOK_EVERY_MS = 250;
/** A running operator may put a finalizer back between two looks; one without rights may not. */
const MAX_PASSES = 5;

/**
 * Takes away what `install` applied. Refuses to while there are GatewayUpstreams, unless told what becomes of them.
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
  // Without the Lease an operator may still run: it cannot put a finalizer back once its bindings are gone.
  if (!options.keepRbac) await removeRbac(deps, options.namespace, signal);
  await releaseFinalizers(deps, options, signal);
  await endCrds(deps, options, signal);
  if (!options.keepLease) await lease?.delete(signal);
  if (!options.keepRbac) {
    deps.print(
      `Done. Next: stop the operator if it still runs. Namespace ${options.namespace} stays, with the Secrets in it: kubectl delete namespace ${options.namespace} removes it.`,
    );
  }
}

/** Throws for an installation in another namespace: its rights and CRDs are not to be taken away by mistake. */
async function expectOwnInstallation(
  { transport }: UninstallDeps,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const other = await otherInstallation(transport, namespace, signal);
  if (other === undefined) return;
  throw new InstallError(
    `the installation of this cluster is in namespace ${other}: give --namespace ${other}; nothing was changed`,
    3,
  );
}

/** Takes our finalizers from everything, so that nothing waits for an operator that is gone. */
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
      if (pass + 1 < MAX_PASSES) await deps.clock.sleep(LOOK_EVERY_MS, signal);
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

/** Deletes `object`, unless somebody else than `install` made it. */
async function removeOwn(
  { transport, print }: UninstallDeps,
  object: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(object);
  const found = await held(transport, path, signal);
  if (found === undefined) return;
  if (!isOwn(found)) {
    const manager = found.metadata.labels?.[OWN_LABEL];
    print(
      `${nameOf(object)} left: ${manager === undefined ? 'install did not make it' : `${manager} manages it`}`,
    );
    return;
  }
  if (await remove(transport, path, signal)) print(`${nameOf(object)} deleted`);
}

/** Removes the CRDs, or says on every object that stays that no operator maintains it. */
async function endCrds(deps: UninstallDeps, options: UninstallOptions, signal: AbortSignal): Promise<void> {
  const { upstreams, connections, sets, others } = await scopeOf(
    deps.catalog.transforms,
    deps.transport,
    options.namespaces,
    signal,
  );
  if (!options.keepCrds && others.length === 0) return await removeCrds(deps, options, signal);
  // What is cluster-scoped is the other operator's too.
  await markUninstalled(
    deps,
    others.length === 0 ? { upstreams, connections, sets } : { upstreams, connections: [], sets: [] },
    signal,
  );
  deps.print(
    others.length === 0
      ? 'The CRDs stay, and with them every GatewayConnection, GatewayUpstream and GatewayUpstreamSet, without finalizers.'
      : `The CRDs stay, since another operator maintains ${count(others.length, 'GatewayUpstream')} (${namesOf(others)}).`,
  );
}

async function removeCrds(
  { catalog, transport, clock, print }: UninstallDeps,
  { timeoutMs }: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const crds = manifestsOf(catalog, { namespace: '', namespaces: [], secretNamespaces: [], crdsOnly: true });
  const going: Manifest[] = [];
  for (const crd of crds) if (await remove(transport, pathOf(crd), signal)) going.push(crd);
  const deadline = clock.monotonic() + timeoutMs;
  for (const crd of going) {
    while ((await held(transport, pathOf(crd), signal)) !== undefined) {
      if (clock.monotonic() >= deadline) {
        throw new InstallError(
          `${nameOf(crd)} is not gone after ${timeoutMs / 1000} s: look for objects with finalizers that are not of this program`,
        );
      }
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
    print(`${nameOf(crd)} deleted`);
  }
}
