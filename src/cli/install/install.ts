import type { KubeConfig } from '@kubernetes/client-node';
import { CUSTOM_RESOURCES } from '../../api/crd.ts';
import { GROUP, OPERATOR, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { expectOwnFile, makeToken, type OutOfCluster, writeKubeconfig } from './access.ts';
import { apply, getObject, nameOf, pathOf } from './applier.ts';
import { InstallError } from './install-error.ts';
import { type Manifest, type ManifestOptions, manifestsOf } from './manifests.ts';
import { otherSubject } from './other-installation.ts';

export interface InstallDeps {
  readonly catalog: Catalog;
  readonly transport: KubeTransport;
  /** Used by the transport. Contains the server and the certificate authority of the kubeconfig to write. */
  readonly kubeConfig: KubeConfig;
  readonly clock: Clock;
  /** Prints one line for the user. */
  readonly print: (line: string) => void;
}

const SERVED_TIMEOUT_MS = 60_000;
const POLL_MS = 200;

/**
 * Applies everything that the operator needs and waits until the API server serves the CRDs. Idempotent. Rejects with
 * `KubeApiError` or `InstallError`.
 */
export async function install(
  deps: InstallDeps,
  manifest: ManifestOptions,
  outOfCluster: OutOfCluster | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { transport, print } = deps;
  // All checks run before the first change.
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
    print('The CRDs are installed.');
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
      `The CRDs and the permissions are installed. Next: run the operator as ServiceAccount ${manifest.namespace}/${OPERATOR}${configured}, and create a GatewayConnection.`,
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
      ? `${path} written (mode 0600). Its token never expires. To revoke it, delete Secret ${manifest.namespace}/${OPERATOR}-token.`
      : `${path} written (mode 0600). Its token expires at ${token.expires}. Run this command again before then: a running operator reloads the file.`,
  );
  print('Next: create a GatewayConnection, and run the operator with this configuration:');
  for (const line of [`kubeconfig: ${path}`, `operatorNamespace: ${manifest.namespace}`, ...settings])
    print(`  ${line}`);
}

/** Checks that the namespaces exist. `install` does not create them, because a typing error would create a wrong one. */
async function expectNamespaces(
  transport: KubeTransport,
  /** The operator's namespace, which this command creates. */
  own: string,
  [flag, namespaces]: readonly [string, readonly string[]],
  signal: AbortSignal,
): Promise<void> {
  const missing: string[] = [];
  for (const name of namespaces) {
    if (name === own) continue;
    const path = resourcePath({ group: '', version: 'v1', plural: 'namespaces', name });
    if ((await getObject(transport, path, signal)) === undefined) missing.push(name);
  }
  if (missing.length === 0) return;
  throw new InstallError(
    `namespace ${missing.join(', ')} does not exist: correct ${flag}, or run kubectl create namespace; nothing was changed`,
  );
}

/** Rejects if another ServiceAccount uses the ClusterRoleBinding: a second installation would overwrite it. */
async function expectOnlyInstallation(
  transport: KubeTransport,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const other = await otherSubject(transport, namespace, signal);
  if (other === undefined) return;
  const subject = `${other.kind} ${other.namespace === undefined ? '' : `${other.namespace}/`}${other.name}`;
  const change =
    other.namespace === undefined
      ? 'remove it from the ClusterRoleBinding first'
      : `set --namespace ${other.namespace} to change that installation. To move it, first run ${OPERATOR} uninstall --namespace ${other.namespace} --finalizers=orphan --keep-crds`;
  throw new InstallError(
    `ClusterRoleBinding ${OPERATOR} is used by ${subject}, which would lose its permissions: ${change}. To run a second operator, use the Helm chart, which names its roles after the release; nothing was changed`,
    3,
  );
}

interface CrdStatus {
  /** `null` right after the CRD was created. */
  readonly conditions?:
    | readonly { readonly type: string; readonly status: string; readonly message?: string }[]
    | null;
}

/** Waits until the CRD is established. */
async function established(
  { transport, clock }: InstallDeps,
  crd: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonic() + SERVED_TIMEOUT_MS;
  for (;;) {
    const { conditions } = ((await getObject(transport, pathOf(crd), signal))?.['status'] ?? {}) as CrdStatus;
    const condition = (type: string) => conditions?.find((one) => one.type === type);
    if (condition('Established')?.status === 'True') return;
    const names = condition('NamesAccepted');
    if (names?.status === 'False') {
      throw new InstallError(
        `${nameOf(crd)} is not served: ${names.message ?? 'another CRD uses the same names'}; delete the other CRD`,
      );
    }
    if (clock.monotonic() >= deadline) {
      throw new InstallError(
        `${nameOf(crd)} was not established within ${SERVED_TIMEOUT_MS / 1000} s: run the command again`,
      );
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** Waits until every kind can be listed, which takes a moment after the CRD is established. */
async function served({ transport, clock }: InstallDeps, signal: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + SERVED_TIMEOUT_MS;
  for (const { plural } of CUSTOM_RESOURCES) {
    const path = resourcePath({ group: GROUP, version: VERSION, plural });
    for (;;) {
      try {
        await transport.get(path, { query: { limit: '1' }, signal });
        break;
      } catch (error) {
        const status = error instanceof KubeApiError ? error.status : undefined;
        // The user may install CRDs but not list the objects.
        if (status === 403) break;
        // API server 1.37 (measured): 404 until discovery has the kind, then 429 until its storage is ready.
        if (status !== 404 && status !== 429) throw error;
      }
      if (clock.monotonic() >= deadline) {
        throw new InstallError(
          `the API server did not serve ${plural} within ${SERVED_TIMEOUT_MS / 1000} s: run the command again`,
        );
      }
      await clock.sleep(POLL_MS, signal);
    }
  }
}
