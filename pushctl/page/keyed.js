// Lists that change little: elements are kept by key, so that focus, hover and animations survive.

const kept = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in their order. `create(item)` makes an element, and
 * `update(element, item)` is called for every one; of items with the same key the first counts.
 */
export function reconcile(parent, items, { key, create, update }) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  for (const item of items) {
    const id = key(item);
    if (now.has(id)) continue;
    const element = before.get(id) ?? create(item);
    update(element, item);
    now.set(id, element);
    before.delete(id);
  }
  for (const gone of before.values()) gone.remove();
  let place = parent.firstElementChild;
  for (const element of now.values()) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  kept.set(parent, now);
}

/** Sets the text of an element if it is another one: an equal one would cost a layout too. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A new element from the page's template of this id. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}
