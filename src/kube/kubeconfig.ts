import { KubeConfig } from '@kubernetes/client-node';
import { KubeApiError } from './kube-error.ts';

/**
 * Loads the kubeconfig from `file`. Without `file`, from KUBECONFIG, from the user's home, or from the Pod's
 * ServiceAccount. Throws `KubeApiError` if none can be read.
 */
export function loadKubeConfig(file: string | undefined): KubeConfig {
  const kubeConfig = new KubeConfig();
  try {
    if (file === undefined) kubeConfig.loadFromDefault();
    else kubeConfig.loadFromFile(file);
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    // The parser's message quotes the file, which contains credentials.
    throw new KubeApiError(
      `${file ?? path ?? 'the kubeconfig'} cannot be read: ${code ?? 'it is not a valid kubeconfig'}`,
    );
  }
  if (kubeConfig.getCurrentCluster() === null) {
    throw new KubeApiError(
      `${file ?? 'the kubeconfig'} has no current context: set one with kubectl config use-context`,
    );
  }
  // client-node 2.0.1 (by source): falls back to this historical address if it finds no kubeconfig.
  if (file === undefined && kubeConfig.getCurrentCluster()?.server === 'http://localhost:8080') {
    throw new KubeApiError('no kubeconfig found: set --kubeconfig or KUBECONFIG');
  }
  return kubeConfig;
}
