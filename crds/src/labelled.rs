//! A label on a Service, instead of a ServiceExpose of one's own, and the annotations that go with it.

/// Label of a Service that asks for a ServiceExpose; its value must be [`WANTED`].
pub const LABEL: &str = "connect.privateconnect.co/expose";

/// The value of [`LABEL`] that asks for one.
pub const WANTED: &str = "true";

/// Annotation: number or name of the Service's port. Needed when it has several.
pub const PORT: &str = "connect.privateconnect.co/port";

/// Annotation: what teammates see. Default: the Service's name.
pub const ROUTE_NAME: &str = "connect.privateconnect.co/route-name";

/// Annotation: the port suggested for the teammate's machine. Default: the Service's port.
pub const LOCAL_PORT: &str = "connect.privateconnect.co/local-port";

/// Annotation: Auto, TCP, HTTP or HTTPS. Default: Auto.
pub const PROTOCOL: &str = "connect.privateconnect.co/protocol";

/// Annotation: whether to ask the hub for a public URL, true or false. Default: false.
pub const PUBLIC: &str = "connect.privateconnect.co/public";

/// Every annotation that is read.
pub const ANNOTATIONS: [&str; 5] = [PORT, ROUTE_NAME, LOCAL_PORT, PROTOCOL, PUBLIC];
