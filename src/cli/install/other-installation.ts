import { OPERATOR } from '../../api/group.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import { getObject, type LiveObject } from './applier.ts';

export const OWN_LABEL = 'app.kubernetes.io/managed-by';

export interface Subject {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

const RBAC = { group: 'rbac.authorization.k8s.io', version: 'v1' };

/** Whether `install` created the object. */
export function isOwn({ metadata }: LiveObject): boolean {
  return metadata.labels?.[OWN_LABEL] === OPERATOR;
}

/**
 * The subject that would lose its permissions if the ClusterRoleBinding contained only the ServiceAccount of `namespace`.
 * ServiceAccounts that do not exist are ignored. Rejects with `KubeApiError`.
 */
export async function otherSubject(
  transport: KubeTransport,
  namespace: string,
  signal: AbortSignal,
): Promise<Subject | undefined> {
  for (const subject of await subjectsOf(transport, signal)) {
    if (!isAccountOf(subject, namespace) && (await exists(transport, subject, signal))) return subject;
  }
  return undefined;
}

/** The namespace of the installation, if `install` created it in a namespace other than `namespace`. */
export async function otherInstallation(
  transport: KubeTransport,
  namespace: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const binding = await getObject(transport, bindingPath(), signal);
  if (binding === undefined || !isOwn(binding)) return undefined;
  const subjects = subjectsIn(binding);
  if (subjects.some((subject) => isAccountOf(subject, namespace))) return undefined;
  return subjects.find(({ kind, name }) => kind === 'ServiceAccount' && name === OPERATOR)?.namespace;
}

function isAccountOf({ kind, name, namespace }: Subject, own: string): boolean {
  return kind === 'ServiceAccount' && name === OPERATOR && namespace === own;
}

async function subjectsOf(transport: KubeTransport, signal: AbortSignal): Promise<readonly Subject[]> {
  const binding = await getObject(transport, bindingPath(), signal);
  return binding === undefined ? [] : subjectsIn(binding);
}

function subjectsIn(binding: LiveObject): readonly Subject[] {
  return (binding['subjects'] ?? []) as readonly Subject[];
}

async function exists(
  transport: KubeTransport,
  { kind, name, namespace }: Subject,
  signal: AbortSignal,
): Promise<boolean> {
  if (kind !== 'ServiceAccount' || namespace === undefined) return true;
  const path = resourcePath({ group: '', version: 'v1', plural: 'serviceaccounts', namespace, name });
  try {
    return (await getObject(transport, path, signal)) !== undefined;
  } catch (error) {
    // Without permission to read it, assume that it exists.
    if (error instanceof KubeApiError && error.status === 403) return true;
    throw error;
  }
}

function bindingPath(): string {
  return resourcePath({ ...RBAC, plural: 'clusterrolebindings', name: OPERATOR });
}
