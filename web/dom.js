// Builds elements. Texts become text nodes, so what people write never becomes markup.

/** An element: `h("a", { href: "#/", class: "link" }, "text", otherElement)`. It has no attribute for null. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make the children of an element those of the list. Elements that stay keep their focus, also when they move. */
export function setChildren(element, children) {
  const focusOwner = /** @type {HTMLElement} */ (document.activeElement);
  let node = element.firstChild;
  for (const child of children) {
    if (child === node) node = node.nextSibling;
    else element.insertBefore(child, node);
  }
  while (node) {
    const next = node.nextSibling;
    node.remove();
    node = next;
  }
  if (focusOwner !== document.activeElement && element.contains(focusOwner)) focusOwner.focus({ preventScroll: true });
}

/** Tell people who use a screen reader. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}
