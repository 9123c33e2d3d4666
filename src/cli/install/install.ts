import type { KubeConfig } from '@kubernetes/client-node';
import { CUSTOM_RESOURCES } from '../../api/crd.ts';
import { GROUP, OPERATOR, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { expectOwnFile, makeToken, type OutOfCluster, writeKubeconfig } from './access.ts';
import { apply, held, nameOf, pathOf } from './applier.ts';
import { InstallError } from './install-error.ts';
import { type Manifest, type ManifestOptions, manifestsOf } from './manifests.ts';
import { otherSubject } from './other-installation.ts';

export interface InstallDeps {
  readonly catalog: Catalog;
  readonly transport: KubeTransport;
  /** What the transport was made from: server and certificate authority of the kubeconfig to write. */
  readonly kubeConfig: KubeConfig;
  readonly clock: Clock;
  /** One line for the user. */
  readonly print: (line: string) => void;
}

const SERVED_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 200;

/**
 * Applies everything that the operator needs and waits until the API server serves it; again at will. Rejects with
 * `KubeApiError` or `InstallError`.
 */
export async function install(
  deps: InstallDeps,
  manifest: ManifestOptions,
  outOfCluster: OutOfCluster | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { transport, print } = deps;
  // What can be wrong is found before anything is changed.
  if (outOfCluster !== undefined) await expectOwnFile(outOfCluster);
  if (!manifest.crdsOnly) {
    const { namespace, namespaces, secretNamespaces } = manifest;
    await expectNamespaces(transport, namespace, ['--namespaces', namespaces], signal);
    await expectNamespaces(transport, namespace, ['--secret-namespaces', secretNamespaces], signal);
    await expectOnlyInstallation(transport, namespace, signal);
  }
  const manifests = manifestsOf(deps.catalog, manifest);
  for (const one of manifests) print(`${nameOf(one)} ${await apply(transport, one, signal)}`);
  for (const one of manifests) {
    if (one.kind === 'CustomResourceDefinition') await established(deps, one, signal);
  }
  await served(deps, signal);
  if (manifest.crdsOnly) {
    print('The API server serves every kind.');
    return;
  }
  const settings = [
    ...(manifest.namespaces.length === 0 ? [] : [`namespaces: [${manifest.namespaces.join(', ')}]`]),
    ...(manifest.secretNamespaces.length === 0
      ? []
      : [`secretNamespaces: [${manifest.secretNamespaces.join(', ')}]`]),
    ...(manifest.watchNodes === true ? ['watchNodes: true'] : []),
    ...(manifest.readEndpoints === true ? ['readEndpoints: true'] : []),
  ];
  if (outOfCluster === undefined) {
    const configured =
      settings.length === 0
        ? ''
        : ` with ${settings.map((setting) => `"${setting}"`).join(' and ')} in its configuration`;
    print(
      `The API server serves every kind. Next: run the operator as ServiceAccount ${manifest.namespace}/${OPERATOR}${configured}, and create a GatewayConnection.`,
    );
    return;
  }
  const token = await makeToken(deps, manifest.namespace, outOfCluster.token, signal);
  const path = await writeKubeconfig(outOfCluster.output, deps.kubeConfig, {
    token: token.token,
    namespace: manifest.namespace,
  });
  print(
    token.expires === undefined
      ? `${path} written (mode 0600); its token never expires: delete Secret ${manifest.namespace}/${OPERATOR}-token to revoke it.`
      : `${path} written (mode 0600); its token is good until ${token.expires}: run this command again before, a running operator takes the new one by itself.`,
  );
  print('Next: create a GatewayConnection, and run the operator with this configuration:');
  for (const line of [`kubeconfig: ${path}`, `operatorNamespace: ${manifest.namespace}`, ...settings])
    print(`  ${line}`);
}

/** Namespaces of other people are not made by the way: a typing error would make one. */
async function expectNamespaces(
  transport: KubeTransport,
  /** It is made by this command. */
  own: string,
  [flag, namespaces]: readonly [string, readonly string[]],
  signal: AbortSignal,
): Promise<void> {
  const missing: string[] = [];
  for (const name of namespaces) {
    if (name === own) continue;
    const path = resourcePath({ group: '', version: 'v1', plural: 'namespaces', name });
    if ((await held(transport, path, signal)) === undefined) missing.push(name);
  }
  if (missing.length === 0) return;
  throw new InstallError(
    `there is no namespace ${missing.join(', ')}: correct ${flag}, or make it with kubectl create namespace; nothing was changed`,
  );
}

/** A second installation would take the ClusterRole and its binding away from the first one. */
async function expectOnlyInstallation(
  transport: KubeTransport,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const other = await otherSubject(transport, namespace, signal);
  if (other === undefined) return;
  const who = `${other.kind} ${other.namespace === undefined ? '' : `${other.namespace}/`}${other.name}`;
  const change =
    other.namespace === undefined
      ? 'remove it from the binding first'
      : `give --namespace ${other.namespace} to change that installation, or run ${OPERATOR} uninstall --namespace ${other.namespace} --finalizers=orphan --keep-crds first to move it`;
  throw new InstallError(
    `ClusterRoleBinding ${OPERATOR} belongs to ${who}, which would lose its rights: ${change}. For a second operator use the Helm chart, whose roles have the name of the release; nothing was changed`,
    3,
  );
}

interface CrdStatus {
  /** `null` right after it was made. */
  readonly conditions?:
    | readonly { readonly type: string; readonly status: string; readonly message?: string }[]
    | null;
}

/** Waits until the API server has taken the CRD. */
async function established(
  { transport, clock }: InstallDeps,
  crd: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonic() + SERVED_WITHIN_MS;
  for (;;) {
    const { conditions } = ((await held(transport, pathOf(crd), signal))?.['status'] ?? {}) as CrdStatus;
    const condition = (type: string) => conditions?.find((one) => one.type === type);
    if (condition('Established')?.status === 'True') return;
    const names = condition('NamesAccepted');
    if (names?.status === 'False') {
      throw new InstallError(
        `${nameOf(crd)} is not served: ${names.message ?? 'another CRD has its names'}; remove the other one`,
      );
    }
    if (clock.monotonic() >= deadline) {
      throw new InstallError(
        `${nameOf(crd)} was not established within ${SERVED_WITHIN_MS / 1000} s: try again`,
      );
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}

/** Waits until every kind can be listed: an established CRD takes a moment more. */
async function served({ transport, clock }: InstallDeps, signal: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + SERVED_WITHIN_MS;
  for (const { plural } of CUSTOM_RESOURCES) {
    const path = resourcePath({ group: GROUP, version: VERSION, plural });
    for (;;) {
      try {
        await transport.get(path, { query: { limit: '1' }, signal });
        break;
      } catch (error) {
        const status = error instanceof KubeApiError ? error.status : undefined;
        // Whoever may only install the CRDs may not look into them.
        if (status === 403) break;
        // API server 1.37, measured: 404 until discovery knows the kind, then 429 until its storage is ready.
        if (status !== 404 && status !== 429) throw error;
      }
      if (clock.monotonic() >= deadline) {
        throw new InstallError(
          `the API server does not serve ${plural} within ${SERVED_WITHIN_MS / 1000} s: try again`,
        );
      }
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
  }
}
