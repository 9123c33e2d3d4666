import { KubeConfig } from '@kubernetes/client-node';
import { KubeApiError } from './kube-error.ts';

/**
 * The kubeconfig in `file`, or else the one of KUBECONFIG, the user's own, or the Pod's ServiceAccount. Throws
 * `KubeApiError` where there is none that can be read.
 */
export function loadKubeConfig(file: string | undefined): KubeConfig {
  const kubeConfig = new KubeConfig();
  try {
    if (file === undefined) kubeConfig.loadFromDefault();
    else kubeConfig.loadFromFile(file);
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    // What the parser says quotes what it read: a credential.
    throw new KubeApiError(
      `${file ?? path ?? 'the kubeconfig'} cannot be read: ${code ?? 'it is not a valid kubeconfig'}`,
    );
  }
  if (kubeConfig.getCurrentCluster() === null) {
    throw new KubeApiError(
      `${file ?? 'the kubeconfig'} has no current context: set one with kubectl config use-context`,
    );
  }
  // client-node 2.0.1, by source: where nothing is found, this address of long ago.
  if (file === undefined && kubeConfig.getCurrentCluster()?.server === 'http://localhost:8080') {
    throw new KubeApiError('no kubeconfig found: set --kubeconfig or KUBECONFIG');
  }
  return kubeConfig;
}
