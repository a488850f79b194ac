// Types of preact.js, as far as the console uses it.
export type VNode = object;
type Dispose = void | (() => void);
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
export function render(node: VNode | null, parent: Element): void;
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((previous: T) => T)) => void];
export function useEffect(effect: () => Dispose, inputs?: readonly unknown[]): void;
export function useLayoutEffect(effect: () => Dispose, inputs?: readonly unknown[]): void;
export function useRef<T>(initial: T): { current: T };
export function useMemo<T>(make: () => T, inputs?: readonly unknown[]): T;
export function useErrorBoundary(callback?: (error: unknown) => void): [unknown, () => void];
